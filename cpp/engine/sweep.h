// Differentiation: the reverse sweep (cotangents, backwards over the list) and the forward push (tangents, onwards).
#pragma once
#include <vector>

#include "engine/node.h"

namespace wengert::engine {

// Adds d(sum of seed * output)/d(leaf) to the .grad of every leaf behind `output`. Without retain_tape the swept nodes
// give up their inputs. With create_graph the sweep is itself recorded. On an exception nothing has changed.
void backward(const Tensor& output, const Tensor& seed, bool retain_tape, bool create_graph);

// A stand-in for x on the tape: the point at which `gradients` and `push` begin or stop.
Tensor input_node(const Tensor& x);

// Vector-Jacobian products: the cotangents of `wrt` (input nodes), zeros where an output does not depend on one.
// Empty seeds are zero. With `batch` >= 0, seeds and results carry that many cotangents along a leading axis. With
// `linear` what is recorded is a function of the seeds alone: everything else counts as constant.
std::vector<Tensor> gradients(std::span<const Tensor> outputs, std::span<const Tensor> seeds,
                              std::span<const Tensor> wrt, bool create_graph, index_t batch = -1, bool linear = false);

// What one recorded operation passes on to each of its operands (to all of its places together, if an operand stands in
// several), given the cotangent of its result: one term of the chain rule's sum. Empty where nothing flows.
std::vector<Tensor> contributions(const Tensor& output, const Tensor& cotangent);

// Jacobian-vector products: the tangents of `outputs`, given those of the input nodes `wrt`.
std::vector<Tensor> push(std::span<const Tensor> wrt, std::span<const Tensor> tangents, std::span<const Tensor> outputs,
                         index_t batch = -1, bool linear = false);

// Whether an output, or anything differentiable recorded since these input nodes, is or depends on a leaf or an earlier
// node.
bool reaches_outside(std::span<const Tensor> inputs, std::span<const Tensor> outputs);

}  // namespace wengert::engine
