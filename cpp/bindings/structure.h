// Arguments and results as a tree: arrays by dtype and shape, in tuples, lists and dicts; everything else by value.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "bindings/tensor_type.h"
#include "engine/program.h"

namespace wengert::bindings {

// The structure of arguments or results.
struct Signature {
  enum Kind { array, sequence, dict, value } kind = value;
  DType dtype = DType::f64;
  Shape shape;
  py::object object;  // the type of a sequence; the keys of a dict, in order; a value
  std::vector<Signature> parts;

  int traverse(visitproc visit, void* with) const;  // for the garbage collector
};

// Walks Python structures; visit(object) is called for each array. ValueError if they go too deep, as a list that
// contains itself does; `what` they are is named in it.
Signature describe(const char* what, PyObject* o, const std::function<Tensor(PyObject*)>& visit, int depth = 0);

// The structure again, with next() in the place of each array.
py::object rebuild(const Signature& s, const std::function<py::object()>& next);

// What a replay reads in the place of the arrays.
struct Bound {
  std::vector<engine::Argument> arguments;
  std::vector<std::pair<std::size_t, py::object>> to_convert;  // arguments of other strides, byte orders or widths
  std::vector<Tensor> converted;
  void clear() {
    arguments.clear();
    to_convert.clear();
  }
  void convert();  // which may let other threads run
};

// Compares arguments with a signature and collects their arrays; false at the first difference. Runs no Python.
bool matches(const Signature& s, PyObject* o, Bound& bound);

// Whether a tensor in it is a recorded result: what is done to it belongs on its tape.
bool holds_recorded_result(PyObject* o, int depth = 0);

// Two plain Python values that no program can tell apart, numbers by their bits; or the same object.
bool same_value(PyObject* a, PyObject* b);

std::string str(const Signature& s);

}  // namespace wengert::bindings
