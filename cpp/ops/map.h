// Elementwise ops as the engine sees them: one object per line of the page of derivatives, and one per pullback.
#pragma once
#include <span>

#include "kernels/table.h"
#include "ops/tensor.h"

namespace wengert {

// Broadcasts its operands and runs one kernel of the table.
struct MapOp : Op {
  int map;  // MapId
  MapOp(const char* name, unsigned reads, int m) : Op(name, reads), map(m) { elementwise = true; }
  void run(const Array* in, int n, const Array& out, Params) const final;
};

struct Elementwise;

// The fused pullback of `of` to operand k: one kernel; differentiated in turn, it is expanded into its formula.
struct ElementwisePullback final : MapOp {
  const Elementwise* of;
  Tensor (*formula)(const Tensor* in);
  const char* text;
  bool passes_g;  // the formula is "g"
  ElementwisePullback(const char* name, unsigned reads, int map, const Elementwise* op, Tensor (*f)(const Tensor*),
                      const char* t);
  void vjp(Pullback&) const override;
  Tensor jvp(Pushforward&) const override;
};

enum class Smooths : std::uint8_t { nothing, powers, by_sign };

struct Elementwise final : MapOp {
  int arity;
  const char* doc;
  const char* text;                                // the formula of the value
  const double* domain;                            // where tests sample: low and high for each operand
  std::span<const ElementwisePullback> pullbacks;  // none: a predicate
  Smooths smooths;                                 // how a rule that is differentiated in turn avoids kinks: kinks.h
  Elementwise(const char* name, unsigned reads, int map, int arity, const char* doc, const char* text,
              const double* domain, std::span<const ElementwisePullback> pullbacks);
  void vjp(Pullback&) const override;
  Tensor jvp(Pushforward&) const override;
  Tensor squared(const Tensor& y, const Origin& from) const override;
};

// For a planner: the op as one of these, or null.
const MapOp* as_map(const Op& op);
bool is_add(const Op& op);
// The first operand whose dtype counts: the condition of a choice has none.
int first_value(const Elementwise& op);

// All of them, in the order of the page.
std::span<const Elementwise* const> elementwise_ops();

// Applies it with NumPy's rules: broadcasting, and promotion to floats (ops/promote.h).
Tensor apply(const Elementwise& op, std::span<const Tensor> operands);

}  // namespace wengert
