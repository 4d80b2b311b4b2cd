// The passes over code, in the order in which they run. Each is free-standing, linear in the program (but for
// logarithms), and returns how often it found something to do.
#pragma once
#include "engine/plan/code.h"

namespace wengert::engine::plan {

// simplify.cpp
// An alias of a leaf shows the values of when it was taken: if the leaf is written and the alias read later, it must be
// a copy.
index_t copy_written_aliases(Code&);
// What is computed from constants alone has been computed already, while recording.
index_t fold_constants(Code&);
// Products read a matrix as it lies instead of its transpose, as long as no leaf was written in between.
index_t fold_transposes(Code&);
// Equal operations on equal operands give equal results, as long as no leaf was written in between.
index_t merge_equal(Code&);
// What nobody needs is not computed.
index_t drop_dead(Code&);
// Results and gradients get memory of their own; what is not computed here, or is wanted twice, is copied into it.
index_t give_outputs(Code&);

// fuse.cpp
// A bias and an activation become part of the product that feeds them; so does the pullback of an activation, or any
// elementwise operation on the product and one array like it.
index_t fold_epilogues(Code&);

}  // namespace wengert::engine::plan
