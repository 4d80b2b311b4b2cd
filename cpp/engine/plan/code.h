// The planner's intermediate form: a recording as values and instructions, in order. Passes are free functions over it;
// what is known of lifetimes and memory stands elsewhere (place.h), so that no pass can lean on it.
#pragma once
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "engine/node.h"
#include "ops/map.h"

namespace wengert::engine::plan {

enum class Origin : std::uint8_t {
  computed,
  argument,
  leaf,      // from outside and live: a replay reads what it holds then
  local,     // made while recording and known to nobody else; a replay gives it its first value again
  constant,  // from outside, or folded, and nobody can change it
};

// Shapes and nodes belong to the recording, which outlives its plan.
struct Val {
  const Shape* shape;
  index_t size;
  Node* node;              // of what is from outside or folded, and what a computed value was at the recording
  int base;                // itself, or the value whose memory it shares under another shape
  int argument = -1;       // which one, by origin
  int output = -1;         // which result or gradient has its memory
  std::uint32_t made = 0;  // how many instructions precede it
  DType dtype;
  Origin origin;
  index_t bytes() const { return size * size_of(dtype); }
};

// What a product does to its result before it stores it: add a row, and apply an elementwise operation that may take
// one more array of the product's shape.
struct Epilogue {
  int bias = -1;
  const MapOp* activation = nullptr;
  int operand = -1, operand_at = 0, c_at = 0;  // beside the product, and where each stands
};

struct Instr {
  const Op* op;
  const Attrs* attrs;
  index_t word;
  int first, n;  // its operands in Code::operands; -1 is one that is not read
  int out;       // -1: an effect
  int epilogue = -1;
  bool dead = false;
};

// A result, or with a leaf the gradient that becomes its .grad.
struct Wanted {
  int value;
  Tensor leaf;
};

struct Code {
  std::vector<Val> values;
  std::vector<Instr> instrs;
  std::vector<int> operands;
  std::vector<Epilogue> epilogues;
  std::vector<Wanted> wanted;
  std::vector<std::pair<int, Tensor>> grad_reads;  // values that are the .grad a leaf had before
  std::vector<Tensor> grad_absent, grad_clears;    // leaves that must have no .grad at first, or have none in the end
  index_t recorded = 0;

  Val& operator[](int v) { return values[static_cast<std::size_t>(v)]; }
  const Val& operator[](int v) const { return values[static_cast<std::size_t>(v)]; }
  int base(int v) const { return (*this)[v].base; }
  std::span<int> in(const Instr& c) {
    return std::span(operands).subspan(static_cast<std::size_t>(c.first), static_cast<std::size_t>(c.n));
  }
  std::span<const int> in(const Instr& c) const {
    return std::span(operands).subspan(static_cast<std::size_t>(c.first), static_cast<std::size_t>(c.n));
  }
  int add_value(const Val& v);
  Instr copy_of(int v);  // an instruction that copies v into a new value

  // f(value) for everything an instruction reads, epilogue included.
  template <class F>
  void for_reads(const Instr& c, F&& f) const {
    for (int v : in(c))
      if (v >= 0) f(v);
    if (c.epilogue < 0) return;
    const Epilogue& e = epilogues[static_cast<std::size_t>(c.epilogue)];
    if (e.bias >= 0) f(e.bias);
    if (e.operand >= 0) f(e.operand);
  }
  // f(base of the value) for every operand that an instruction changes in place.
  template <class F>
  void for_writes(const Instr& c, F&& f) const {
    if (!c.op->writes) return;
    for (std::size_t k = 0; k < static_cast<std::size_t>(c.n); ++k)
      if (const int v = in(c)[k]; v >= 0 && c.op->writes_to(k)) f(base(v));
  }
  void erase_dead();

  std::string str() const;  // an instruction a line
  std::string str(const Instr&) const;
};

// A recording as code. `results` may be any tensors.
Code read(const Tape& tape, std::span<const Tensor> arguments, std::span<const Tensor> results);

}  // namespace wengert::engine::plan
