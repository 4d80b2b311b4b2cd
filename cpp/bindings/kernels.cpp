// Single kernels of a chosen ISA on NumPy arrays, for tests and benchmarks: no tape, no broadcasting beyond steps.
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <optional>

#include "bindings/bindings.h"
#include "kernels/select.h"
#include "kernels/table.h"

namespace wengert::bindings {
namespace {

constexpr const char* map_names[] = {
#define UNARY(NAME, DOC, DOMAIN, F, DX) #NAME, #NAME "_d0",
#define BINARY(NAME, DOC, DOMAIN, F, DA, DB) #NAME, #NAME "_d0", #NAME "_d1",
#define TERNARY(NAME, DOC, DOMAIN, F, DA, DB, DC) #NAME, #NAME "_d0", #NAME "_d1", #NAME "_d2",
#define PREDICATE(NAME, DOC, DOMAIN, F) #NAME,
#include "ops/elementwise.def"
};

template <class F>
auto with_type(const py::array& a, F&& f) {
  return a.itemsize() == 4 ? f(float{}) : f(double{});
}

template <class T>
const kernels::Table<T>& table_of(const std::string& isa) {
  const kernels::Table<T>* t = kernels::table<T>(isa.c_str());
  if (!t) throw std::invalid_argument("no kernels for '" + isa + "' here");
  return *t;
}

py::array kernel_map(const std::string& isa, const std::string& name, const std::vector<std::optional<py::array>>& in,
                     std::optional<py::array> out) {
  int id = 0;
  while (id < n_maps && name != map_names[id]) ++id;
  if (id == n_maps) throw std::invalid_argument("no kernel is called " + name);
  index_t n = 1;
  const py::array* any = nullptr;
  for (const auto& a : in)
    if (a) {
      if (a->size() != 1) n = a->size();
      any = &*a;
    }
  if (!any) throw std::invalid_argument("no operands");
  return with_type(*any, [&]<class T>(T) {
    std::vector<const T*> p;
    std::vector<index_t> step;
    for (const auto& a : in) {
      p.push_back(a ? static_cast<const T*>(a->data()) : nullptr);
      step.push_back(a && (a->size() != 1 || n == 1) ? 1 : 0);
    }
    py::array y = out ? *out : py::array(py::array_t<T>(n));
    table_of<T>(isa).map[id](p.data(), step.data(), static_cast<T*>(y.mutable_data()), n);
    return y;
  });
}

// Rank 2, rows may be farther apart than they are long.
py::array kernel_matmul(const std::string& isa, const py::array& a, const py::array& b, bool trans_a, bool trans_b,
                        std::optional<py::array> out, std::optional<py::array> bias) {
  return with_type(a, [&]<class T>(T) {
    const index_t m = a.shape(trans_a ? 1 : 0), k = a.shape(trans_a ? 0 : 1), n = b.shape(trans_b ? 0 : 1);
    py::array c = out ? *out : py::array(py::array_t<T>({m, n}));
    const auto row = [](const py::array& x) { return x.strides(0) / x.itemsize(); };
    kernels::MatMul<T> mm{static_cast<const T*>(a.data()),
                          static_cast<const T*>(b.data()),
                          static_cast<T*>(c.mutable_data()),
                          m,
                          n,
                          k,
                          row(a),
                          row(b),
                          row(c)};
    mm.trans_a = trans_a;
    mm.trans_b = trans_b;
    if (bias) mm.bias = static_cast<const T*>(bias->data());
    table_of<T>(isa).matmul(mm);
    return c;
  });
}

py::array kernel_reduce(const std::string& isa, const std::string& name, const py::array& x, index_t outer, index_t n,
                        index_t inner, std::optional<py::array> out) {
  return with_type(x, [&]<class T>(T) {
    py::array y = out ? *out : py::array(py::array_t<T>({outer, inner}));
    const auto& t = table_of<T>(isa);
    const auto f = name == "sum"    ? t.sum
                   : name == "norm" ? t.norm
                   : name == "max"  ? t.max
                   : name == "min"  ? t.min
                                    : nullptr;
    if (!f) throw std::invalid_argument("no reduction is called " + name);
    f(static_cast<const T*>(x.data()), static_cast<T*>(y.mutable_data()), outer, n, inner, inner);
    return y;
  });
}

// x is (rows, n); the second array is g, or the labels of a cross-entropy; the third its cotangents.
py::array kernel_rows(const std::string& isa, const std::string& name, const std::vector<py::array>& in,
                      std::optional<py::array> out) {
  const py::array& x = in.at(0);
  const index_t rows = x.shape(0), n = x.shape(1);
  return with_type(x, [&]<class T>(T) {
    const auto& t = table_of<T>(isa);
    const T* p = static_cast<const T*>(x.data());
    const bool one_a_row = name == "logsumexp" || name == "cross_entropy";
    py::array result = out ? *out : one_a_row ? py::array(py::array_t<T>(rows)) : py::array(py::array_t<T>({rows, n}));
    T* y = static_cast<T*>(result.mutable_data());
    const auto second = [&] { return static_cast<const T*>(in.at(1).data()); };
    const auto labels = [&] { return static_cast<const index_t*>(in.at(1).data()); };
    if (name == "softmax")
      t.softmax(p, y, rows, n);
    else if (name == "log_softmax")
      t.log_softmax(p, y, rows, n);
    else if (name == "logsumexp")
      t.logsumexp(p, y, rows, n);
    else if (name == "softmax_pullback")
      t.softmax_pullback(p, second(), y, rows, n);
    else if (name == "log_softmax_pullback")
      t.log_softmax_pullback(p, second(), y, rows, n);
    else if (name == "layer_norm")
      t.layer_norm(p, y, rows, n, 1e-5);
    else if (name == "layer_norm_pullback")
      t.layer_norm_pullback(p, second(), y, rows, n, 1e-5);
    else if (name == "cross_entropy")
      t.cross_entropy(p, labels(), y, rows, n);
    else if (name == "cross_entropy_pullback")
      t.cross_entropy_pullback(p, labels(), static_cast<const T*>(in.at(2).data()), y, rows, n);
    else
      throw std::invalid_argument("no row kernel is called " + name);
    return result;
  });
}

// transpose: x is (batch, rows, cols); gather and scatter_add: rows of x (and y) of the same width, by `index`.
void kernel_move(const std::string& isa, const std::string& name, const py::array& x, std::optional<py::array> index,
                 py::array y) {
  with_type(x, [&]<class T>(T) {
    const auto& t = table_of<T>(isa);
    const T* from = static_cast<const T*>(x.data());
    T* to = static_cast<T*>(y.mutable_data());
    if (name == "transpose") return t.transpose(from, to, x.shape(0), x.shape(1), x.shape(2));
    const auto f = name == "gather" ? t.gather : name == "scatter_add" ? t.scatter_add : nullptr;
    if (!f || !index) throw std::invalid_argument("no move is called " + name);
    f(from, static_cast<const index_t*>(index->data()), to, index->size(), x.shape(1));
  });
}

// A second or later step of SGD with momentum, or of AdamW, in place: state is (v,) or (m, v).
void kernel_update(const std::string& isa, const std::string& name, py::array p, const py::array& g,
                   std::vector<py::array> state) {
  with_type(p, [&]<class T>(T) {
    const auto at = [](py::array& a) { return static_cast<T*>(a.mutable_data()); };
    const T* slope = static_cast<const T*>(g.data());
    if (name == "sgd")
      table_of<T>(isa).sgd({at(p), slope, at(state.at(0)), p.size(), 0.1, 0.9, 0.01, true});
    else if (name == "adam")
      table_of<T>(isa).adam(
          {at(p), slope, at(state.at(0)), at(state.at(1)), p.size(), 0.1, 0.9, 0.99, 1e-8, 0.01, 0.19, 0.02, true});
    else
      throw std::invalid_argument("no update is called " + name);
  });
}

}  // namespace

void bind_kernels(py::module_& m) {
  m.def("isas", [] {
    std::vector<std::string> names;
    for (const char* const* p = kernels::isas(); *p; ++p) names.emplace_back(*p);
    return names;
  });
  m.def("isa", [] { return kernels::table<float>().isa; });
  m.def("kernel_map", kernel_map, py::arg("isa"), py::arg("name"), py::arg("arrays"), py::arg("out") = py::none());
  m.def("kernel_matmul", kernel_matmul, py::arg("isa"), py::arg("a"), py::arg("b"), py::arg("trans_a") = false,
        py::arg("trans_b") = false, py::arg("out") = py::none(), py::arg("bias") = py::none());
  m.def("kernel_reduce", kernel_reduce, py::arg("isa"), py::arg("name"), py::arg("x"), py::arg("outer"), py::arg("n"),
        py::arg("inner"), py::arg("out") = py::none());
  m.def("kernel_rows", kernel_rows, py::arg("isa"), py::arg("name"), py::arg("arrays"), py::arg("out") = py::none());
  m.def("kernel_move", kernel_move, py::arg("isa"), py::arg("name"), py::arg("x"), py::arg("index"), py::arg("out"));
  m.def("kernel_update", kernel_update, py::arg("isa"), py::arg("name"), py::arg("p"), py::arg("g"), py::arg("state"));
}

}  // namespace wengert::bindings
