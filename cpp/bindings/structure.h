// Arguments and results as a tree: arrays by dtype and shape, in tuples, lists and dicts; everything else by value.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "bindings/tensor_type.h"

namespace wengert::bindings {

// The structure of arguments or results: arrays by dtype and shape, everything else by value.
struct Signature {
  enum Kind { array, sequence, dict, value } kind = value;
  DType dtype = DType::f64;
  Shape shape;
  py::object object;  // the type of a sequence; the keys of a dict, in order; a value
  std::vector<Signature> parts;
};

// Walks Python structures; visit(object) is called for each array.
Signature describe(PyObject* o, const std::function<Tensor(PyObject*)>& visit);

// The structure again, with next() in the place of each array.
py::object rebuild(const Signature& s, const std::function<py::object()>& next);

struct Bound {
  std::vector<const void*> pointers;
  std::vector<Tensor> converted;  // keeps alive what had to be copied
  engine::Readers readers;
  void clear() {
    pointers.clear();
    converted.clear();
    readers.clear();
  }
};

// Compares arguments with a signature and collects their pointers; false at the first difference.
bool matches(const Signature& s, PyObject* o, Bound& bound);

std::string str(const Signature& s);

}  // namespace wengert::bindings
