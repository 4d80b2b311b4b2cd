// Where the innermost running transform (wg.grad and friends) began on the tape of this thread.
#pragma once
#include <cstdint>

namespace wengert::bindings {
std::uint64_t& transform_start();  // the largest number if none runs
}
