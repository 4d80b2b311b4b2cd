#include "ops/kinks.h"

#include <cmath>
#include <string_view>

#include "ops/functions.h"

namespace wengert {

std::optional<double> number_in(const Value& v) {
  if (!(v.weak || v.number) || !v.memory) return std::nullopt;
  return dispatch(v.dtype, [&]<class T>(T) { return static_cast<double>(*static_cast<const T*>(v.memory)); });
}

Tensor squared_of(const Tensor& y) {
  const Origin from = origin(y);
  return from.op ? from.op->squared(y, from) : Tensor();
}

Tensor Elementwise::squared(const Tensor&, const Origin& from) const {
  const std::string_view op = name;
  const Tensor& a = from.operands[0];
  if (op == "abs") return square(a);
  if (op == "hypot") return square(a) + square(from.operands[1]);
  if (op == "negative") return squared_of(a);
  const bool times = op == "multiply";
  if (!times && op != "divide") return {};
  const Tensor& b = from.operands[1];
  const auto left = number_in(*a.get()), right = number_in(*b.get());
  const auto factor = right ? right : times ? left : std::nullopt;
  const Tensor s = factor ? squared_of(right ? a : b) : Tensor();
  if (!factor || !s) return {};
  return times ? s * (*factor * *factor) : s / (*factor * *factor);
}

Tensor even_power(const Elementwise& op, std::span<const Tensor> operands) {
  const std::string_view name = op.name;
  const Tensor& y = operands[0];
  if (name == "square" || (name == "multiply" && y.get() == operands[1].get())) return squared_of(y);
  const auto n = name == "pow" ? number_in(*operands[1].get()) : std::nullopt;
  if (!n || !(*n > 0) || std::fmod(*n, 2) != 0) return {};
  const Tensor s = squared_of(y);
  return s && *n != 2 ? pow(s, *n / 2) : s;
}

std::optional<double> slope_by_sign(const Elementwise& op, int sign) {
  const std::string_view name = op.name;
  if (sign == 0) return std::nullopt;
  if (name == "abs") return sign;
  if (name == "relu") return sign > 0 ? 1 : 0;
  if (name == "leaky_relu" && sign > 0) return 1;
  return std::nullopt;
}

}  // namespace wengert
