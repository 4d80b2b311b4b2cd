// The one rule of promotion: NumPy 2's, among the four element types. bool < int64 < float64 and bool < float32 <
// float64; int64 beside float32 is float64. Python's numbers are weak: they follow the arrays.
#pragma once
#include <span>

#include "ops/tensor.h"

namespace wengert {

DType promote(DType a, DType b);
DType promote(std::span<const Tensor> operands);  // of weak operands alone: float64
// The same for what is computed in floats: whole numbers and booleans alone are float64.
DType promote_to_float(std::span<const Tensor> operands);

}  // namespace wengert
