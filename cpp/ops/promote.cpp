#include "ops/promote.h"

namespace wengert {

DType promote(DType a, DType b) {
  if (a == b || b == DType::b8) return a;
  if (a == DType::b8) return b;
  return DType::f64;  // of two among float32, float64 and int64
}

DType promote(std::span<const Tensor> operands) {
  DType all = DType::b8;
  bool arrays = false, numbers = false;
  for (const Tensor& t : operands) {
    if (t.get()->weak) {
      numbers = true;
      continue;
    }
    all = promote(all, t.dtype());
    arrays = true;
  }
  return !arrays || (numbers && !is_float(all)) ? DType::f64 : all;  // a weak number is a float
}

DType promote_to_float(std::span<const Tensor> operands) {
  const DType t = promote(operands);
  return is_float(t) ? t : DType::f64;
}

}  // namespace wengert
