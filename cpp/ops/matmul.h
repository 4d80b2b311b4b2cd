// What a planner may know of the matmul op.
#pragma once
#include <utility>

#include "ops/tensor.h"

namespace wengert {
bool is_matmul(const Op& op);
std::pair<bool, bool> matmul_flags(index_t word);     // is the left, the right operand transposed?
index_t matmul_turning(index_t word, std::size_t k);  // the same with operand k transposed once more
}  // namespace wengert
