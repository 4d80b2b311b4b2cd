// Which kernel table this process uses.
#pragma once

namespace wengert::kernels {

// Throws std::runtime_error if WENGERT_ISA names an instruction set that does not exist, is not in this build, or that
// this CPU lacks. The bindings call it at import; table() calls it too.
void check_isa();

// Those that this build has and this CPU runs, the best last; a null pointer ends the list.
const char* const* isas();

}  // namespace wengert::kernels
