// Kinks seen twice. A first derivative at a kink is a choice (docs/subgradients.md); a function may pass through one
// and still be smooth, such as the square of a norm at 0, or |x * x|. Its second derivative then is no choice. A rule
// whose result is differentiated in turn therefore looks at how its operands came about: by the form of the program,
// never by values, so that replays, all modes and all orders agree.
#pragma once
#include <optional>

#include "ops/map.h"

namespace wengert {

// The number that this is by the form of the program.
std::optional<double> number_in(const Value& v);

// y^2 as a function that is smooth where y has a kink; empty if y is none of those that have one.
Tensor squared_of(const Tensor& y);

// An even power of something with a kink, as a function that has none; empty if `op` of these operands is none.
Tensor even_power(const Elementwise& op, std::span<const Tensor> operands);

// The slope of an op with a kink at 0, where the sign of its operand is certain: the kink is not crossed. None if it
// has no such kink.
std::optional<double> slope_by_sign(const Elementwise& op, int sign);

}  // namespace wengert
