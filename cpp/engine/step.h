// What a Program runs: steps over a table of pointers (slots). Each kind is as close to its kernel as it can be.
#pragma once
#include <string>
#include <vector>

#include "kernels/table.h"
#include "ops/tensor.h"

namespace wengert::engine {

class Step {
 public:
  virtual ~Step() = default;
  virtual void run(void* const* slots) = 0;
  virtual std::string str() const = 0;
  virtual const Attrs* attrs() const { return nullptr; }
  bool calls_back = false;      // see Op
  double flops = 0, bytes = 0;  // of one run: multiplications and additions of products; memory touched at least once
};

constexpr int no_slot = -(1 << 30);  // an operand that the kernel does not read

// Element i of a strip's operand stands at i * step; with a period, at i % period (step 1: rows repeat) or at
// i / period (step 0: each element is repeated).
struct StepInput {
  int slot;
  int step;  // 1, or 0 for a broadcast scalar
  index_t period = 0;
};

// The operands of one elementwise operation, in place: a long program has many.
class StepInputs {
 public:
  void push_back(StepInput i) { items_[n_++] = i; }
  StepInput* begin() { return items_; }
  StepInput* end() { return items_ + n_; }
  const StepInput* begin() const { return items_; }
  const StepInput* end() const { return items_ + n_; }
  std::size_t size() const { return n_; }
  const StepInput& operator[](std::size_t k) const { return items_[k]; }

  static constexpr std::size_t most = 5;

 private:
  StepInput items_[most];
  std::size_t n_ = 0;
};

// Any op, through its own `run`.
class CallStep final : public Step {
 public:
  CallStep(const Op& op, std::vector<int> in, int out, Params params, AttrsRef attrs, std::vector<Array> like,
           Shape shape, DType dtype);
  void run(void* const* slots) override;
  std::string str() const override;
  const Attrs* attrs() const override { return attrs_.get(); }

 private:
  const Op& op_;
  std::vector<int> in_;
  int out_;
  Params params_;
  AttrsRef attrs_;
  std::vector<Shape> shapes_;
  std::vector<Array> arrays_;
  Shape shape_;
  DType dtype_;
};

// Elementwise operations over arrays of one length, or broadcast to it, strip by strip: a strip's temporaries stay in
// L1 and have no buffer. Operands with a period shorter than a strip are laid out in a temporary first. Of any two
// periods, one divides the other; strips hold whole short periods and do not cross the ends of long ones.
template <class T>
class MapStep final : public Step {
 public:
  struct Item {
    const char* name;
    kernels::Map<T> map;
    StepInputs in;  // a slot, or ~temporary
    int out;
    bool padded = false;  // what it reads and writes goes on to the end of a cache line, where anything may stand
  };
  MapStep(std::vector<Item> items, index_t n, int temporaries);
  void run(void* const* slots) override;
  std::string str() const override;

 private:
  struct Layout {  // of `from` in a temporary
    StepInput from;
    int temporary;
  };
  void run_range(void* const* slots, index_t begin, index_t end);
  void lay_out_rows(void* const* slots, T* temporaries, index_t n) const;
  void lay_out_columns(void* const* slots, T* temporaries, index_t at, index_t n) const;
  std::vector<Item> items_;
  index_t n_;
  int temporaries_;
  index_t unit_ = 1, strip_, long_period_ = 0;  // the longest period within a strip; the shortest beyond
  std::vector<Layout> layouts_;
};

// One matrix product with its epilogue.
template <class T>
class MatMulStep final : public Step {
 public:
  MatMulStep(kernels::MatMul<T> mm, int a, int b, int c, int bias, const char* activation, int operand)
      : mm_(mm), a_(a), b_(b), c_(c), bias_(bias), operand_(operand), activation_(activation) {}
  void run(void* const* slots) override;
  std::string str() const override;

 private:
  kernels::MatMul<T> mm_;
  int a_, b_, c_, bias_, operand_;
  const char* activation_;
};

}  // namespace wengert::engine
