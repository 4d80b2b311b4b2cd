// The vocabulary of ops: element types, shapes, the tensor handle, and what an op must state.
// Ops see values; how they are recorded, swept and freed is the engine's business (engine/node.h derives from Value).
#pragma once
#include <atomic>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace wengert {

using index_t = std::int64_t;

struct TypeError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// --- element types ---------------------------------------------------------------------------------------------
// Floats differentiate. int64 and bool arrays are constants: labels, indices, masks.
enum class DType : std::uint8_t { f32, f64, i64, b8 };
constexpr index_t size_of(DType t) { return t == DType::f32 ? 4 : t == DType::b8 ? 1 : 8; }
constexpr bool is_float(DType t) { return t <= DType::f64; }
constexpr const char* name_of(DType t) {
  constexpr const char* names[] = {"float32", "float64", "int64", "bool"};
  return names[static_cast<int>(t)];
}
template <class T>
constexpr DType dtype_of = sizeof(T) == 4 ? DType::f32 : DType::f64;

// Calls f(T{}) with the float type of `t`.
template <class F>
decltype(auto) dispatch(DType t, F&& f) {
  if (t == DType::f32) return f(float{});
  if (t == DType::f64) return f(double{});
  throw TypeError(std::string("expected float32 or float64, got ") + name_of(t));
}

// --- shapes ----------------------------------------------------------------------------------------------------
// Arrays are dense and row-major, so a shape says all. Two dimensions fit in place, more are on the heap.
class Shape {
 public:
  static constexpr int max_ndim = 32;
  Shape() = default;
  Shape(std::initializer_list<index_t> d) : Shape(std::span(d.begin(), d.size())) {}
  explicit Shape(std::span<const index_t> d) {
    resize(static_cast<int>(d.size()));
    for (int i = 0; i < ndim_; ++i) (*this)[i] = d[static_cast<std::size_t>(i)];
  }
  Shape(const Shape& o) : Shape(std::span(o.begin(), o.end())) {}
  Shape(Shape&& o) noexcept : ndim_(std::exchange(o.ndim_, 0)), u_(o.u_) {}
  Shape& operator=(Shape o) noexcept {
    std::swap(ndim_, o.ndim_);
    std::swap(u_, o.u_);
    return *this;
  }
  ~Shape() {
    if (ndim_ > 2) delete[] u_.heap;
  }
  // All ones, `ndim` of them.
  static Shape ones(int ndim) {
    Shape s;
    s.resize(ndim);
    for (auto& d : s) d = 1;
    return s;
  }

  int ndim() const { return ndim_; }
  index_t* begin() { return ndim_ > 2 ? u_.heap : u_.own; }
  index_t* end() { return begin() + ndim_; }
  const index_t* begin() const { return ndim_ > 2 ? u_.heap : u_.own; }
  const index_t* end() const { return begin() + ndim_; }
  index_t& operator[](int i) { return begin()[i]; }
  index_t operator[](int i) const { return begin()[i]; }
  // Counted from the end, 0 is the last axis: rules written so work under extra leading axes.
  index_t back(int i) const { return begin()[ndim_ - 1 - i]; }
  index_t& back(int i) { return begin()[ndim_ - 1 - i]; }
  index_t size() const {
    index_t n = 1;
    for (index_t d : *this) n *= d;
    return n;
  }
  bool operator==(const Shape& o) const {
    if (ndim_ != o.ndim_) return false;
    for (int i = 0; i < ndim_; ++i)
      if ((*this)[i] != o[i]) return false;
    return true;
  }
  std::string str() const;  // "(2, 3)"

 private:
  void resize(int ndim) {
    if (ndim > max_ndim) throw std::invalid_argument("arrays have at most 32 dimensions");
    ndim_ = ndim;
    if (ndim > 2) u_.heap = new index_t[static_cast<std::size_t>(ndim)];
  }
  int ndim_ = 0;
  union {
    index_t own[2] = {0, 0};
    index_t* heap;
  } u_;
};
// The shape that all of them broadcast to; throws ValueError naming `op` and the shapes.
Shape broadcast(const char* op, std::span<const Shape* const> shapes);

// --- tensors ---------------------------------------------------------------------------------------------------
// What ops may see of a tensor. `counts` holds two counters in one word: the low half counts handles and consumers,
// the high half those of them that may still read the data, which is given back when nobody can.
struct Value {
  static constexpr std::uint64_t ref = 1, reader = (std::uint64_t{1} << 32) + 1;
  std::atomic<std::uint64_t> counts{reader};
  Shape shape;
  void* memory = nullptr;   // the elements in order, but for a turned matrix: see Tensor::data
  std::uint32_t epoch = 0;  // of the last change in place (leaves), or of the recording (nodes); see engine/node.h
  DType dtype = DType::f64;
  bool requires_grad = false;
  bool weak : 1 = false;      // came from a Python or C++ number: takes the dtype of its partner
  bool number : 1 = false;    // is such a number, of the dtype it has taken: no replay finds another here
  bool borrowed : 1 = false;  // the memory is somebody else's (a NumPy array's)
  bool young : 1 = false;     // made while a program is recorded
  bool basis : 1 = false;     // the unit arrays of shape[1:], along the first axis: see `basis` in functions.h
  bool turned : 1 = false;    // a matrix whose memory holds its transpose, until somebody but a product reads it
};
namespace engine {
void lay_out(Value*);             // gives a turned matrix memory of its own, row by row
void drop(Value*) noexcept;       // nothing refers to it
void drop_data(Value*) noexcept;  // nothing reads its data
// Gives up a reference: Value::ref or Value::reader.
inline void release(Value* v, std::uint64_t amount) noexcept {
  std::uint64_t old = v->counts.load(std::memory_order_acquire);
  do {
    if (static_cast<std::uint32_t>(old) == 1) return drop(v);  // ours is the only one, so nobody can take another
    if (amount == Value::reader && old >> 32 == 1) {           // the only reader, but not the only reference
      drop_data(v);
      old = v->counts.fetch_sub(amount, std::memory_order_acq_rel);
      if (static_cast<std::uint32_t>(old) == 1) drop(v);
      return;
    }
  } while (!v->counts.compare_exchange_weak(old, old - amount, std::memory_order_acq_rel));
}
}  // namespace engine

// A handle; cheap to copy. Empty by default.
class Tensor {
 public:
  Tensor() = default;
  Tensor(double number);                // a weak 0-d constant
  explicit Tensor(Value* v) : v_(v) {}  // takes over one reference and one reader
  Tensor(const Tensor& o) : v_(o.v_) {
    if (v_) v_->counts.fetch_add(Value::reader, std::memory_order_relaxed);
  }
  Tensor(Tensor&& o) noexcept : v_(std::exchange(o.v_, nullptr)) {}
  Tensor& operator=(Tensor o) noexcept {
    std::swap(v_, o.v_);
    return *this;
  }
  ~Tensor() {
    if (v_) engine::release(v_, Value::reader);
  }

  explicit operator bool() const { return v_ != nullptr; }
  Value* get() const { return v_; }
  Value* take() { return std::exchange(v_, nullptr); }
  DType dtype() const { return v_->dtype; }
  const Shape& shape() const { return v_->shape; }
  int ndim() const { return v_->shape.ndim(); }
  index_t size() const { return v_->shape.size(); }
  bool requires_grad() const { return v_->requires_grad; }
  template <class T>
  T* data() const {
    if (v_->turned) engine::lay_out(v_);
    return static_cast<T*>(v_->memory);
  }

 private:
  Value* v_ = nullptr;
};

// --- ops -------------------------------------------------------------------------------------------------------
// Dense memory as `run` gets it: the tensors' own, or, in a replay, wherever the plan put them.
struct Array {
  void* data;
  const Shape* shape;
  DType dtype;
  bool turned = false;  // the memory holds the transpose; only for ops that say so
  template <class T>
  T* as() const {
    return static_cast<T*>(data);
  }
};

// An op's parameters: one word for most (flags, axes as bits counted from the end), a list for the rest.
struct Attrs {
  std::vector<index_t> list;
  std::vector<index_t> list2;
  virtual ~Attrs() = default;
  mutable std::atomic<std::uint32_t> refs{0};
};
class AttrsRef {
 public:
  AttrsRef() = default;
  AttrsRef(const Attrs* a) : a_(a) {
    if (a_) a_->refs.fetch_add(1, std::memory_order_relaxed);
  }
  AttrsRef(const AttrsRef& o) : AttrsRef(o.a_) {}
  AttrsRef(AttrsRef&& o) noexcept : a_(std::exchange(o.a_, nullptr)) {}
  AttrsRef& operator=(AttrsRef o) noexcept {
    std::swap(a_, o.a_);
    return *this;
  }
  ~AttrsRef() {
    if (a_ && a_->refs.fetch_sub(1, std::memory_order_acq_rel) == 1) delete a_;
  }
  const Attrs* get() const { return a_; }

 private:
  const Attrs* a_ = nullptr;
};
struct Params {
  index_t word = 0;
  const Attrs* attrs = nullptr;
};

// What a reverse rule sees of one recorded operation. Cotangents may carry one extra leading axis (many at once), and
// may be 1 along an axis that they are constant over; `g()` gives them in full.
class Pullback {
 public:
  virtual bool needs(int k) const = 0;  // does operand k want a gradient?
  virtual int n_inputs() const = 0;
  virtual Tensor input(int k) const = 0;  // only operands named in Op::reads
  virtual Tensor output() const = 0;      // only if Op::reads has reads_output
  virtual const Shape& input_shape(int k) const = 0;
  virtual DType input_dtype(int k) const = 0;
  virtual const Shape& output_shape() const = 0;
  virtual Params params() const = 0;
  virtual Tensor lazy_g() const = 0;                           // the cotangent, possibly 1 along some axes
  virtual Tensor g() const = 0;                                // the cotangent in full
  virtual Shape batched(const Shape&) const = 0;               // with the extra leading axis, if there is one
  virtual void add(int k, Tensor contribution) = 0;            // of input k's shape (batched)
  virtual void add_broadcast(int k, Tensor contribution) = 0;  // of the output's shape: broadcasting is undone here
  virtual bool recorded() const = 0;                           // will what the rule computes be differentiated in turn?
  virtual int sign(int k) const = 0;                           // of operand k, if certain: see Op::sign
  // For a contribution to a part of operand k: takes out what has come so far, in full, or nothing. The rule adds to
  // it, in place where it can, and gives it back by `add`: a thousand slices of one array cost a thousand slices.
  virtual Tensor take(int k) = 0;
  // Between these two, the operation is recorded as a formula, which is then swept in its place. An empty one: nothing.
  virtual void begin_formula() = 0;
  virtual void end_formula(const Tensor& formula) = 0;

 protected:
  ~Pullback() = default;
};

// What a forward rule sees: operands, result, and tangents (empty where zero), which may carry one leading axis too.
class Pushforward {
 public:
  virtual int n_inputs() const = 0;
  virtual Tensor input(int k) const = 0;
  virtual Tensor output() const = 0;
  virtual const Shape& input_shape(int k) const = 0;
  virtual const Shape& output_shape() const = 0;
  virtual DType output_dtype() const = 0;
  virtual Params params() const = 0;
  virtual bool has_tangent(int k) const = 0;
  virtual Tensor tangent(int k) const = 0;  // of input k's shape (batched); zeros where it has none
  virtual Shape batched(const Shape&) const = 0;
  virtual bool recorded() const = 0;  // these four as in Pullback
  virtual int sign(int k) const = 0;
  virtual void begin_formula() = 0;
  virtual Tensor end_formula(const Tensor& formula) = 0;

 protected:
  ~Pushforward() = default;
};

constexpr unsigned reads_output = 1u << 31;

// How a recorded tensor came about, for rules that look further back than their own operands. A leaf or constant, or
// what a backward has released, has no op. Operands that the op's own rules do not read may have lost their data.
struct Op;
struct Origin {
  const Op* op = nullptr;
  Params params;
  std::vector<Tensor> operands;
};
Origin origin(const Tensor& t);

// What an op's form says of the sign of its result, as far as kinks need it: see ops/kinks.h.
enum class Sign : std::uint8_t { unknown, as_operand, opposite, not_negative, product, sum, power };

// An operation: what it is called, what it computes, its derivative in both modes.
struct Op {
  const char* name;
  unsigned reads = 0;     // operands (bit k) and result (reads_output) that the rules read
  bool alias = false;     // the result is operand 0's memory under another shape
  bool in_place = false;  // the result is of operand 0's dtype and shape, and `run` may be given its memory for it
  bool turns = false;     // the result is operand 0, a matrix, transposed: that memory again, until somebody reads it
  bool takes_turned = false;  // `run` reads turned matrices as they lie
  bool differentiable = true;
  bool elementwise = false;              // a MapOp (map.h)
  index_t long_from = index_t{2} << 20;  // bytes of operands and result from which a run takes some 50 us and more
  Sign sign = Sign::unknown;
  bool calls_back = false;  // a run may enter the interpreter, where anything may happen
  unsigned writes = 0;      // operands (bit k) that it changes in place: leaves, such as parameters and optimizer state
  int period = 32;  // of the pattern of writes: an update takes any number of parameters, with the state of each

  constexpr explicit Op(const char* n, unsigned r = 0) : name(n), reads(r) {}
  bool writes_to(std::size_t k) const { return writes >> (k % static_cast<std::size_t>(period)) & 1; }
  virtual void run(const Array* in, int n, const Array& out, Params p) const = 0;
  virtual void vjp(Pullback&) const = 0;
  virtual Tensor jvp(Pushforward&) const = 0;
  // The square of a result y of this op, as a function that is smooth where y itself has a kink. Empty if it has none.
  virtual Tensor squared(const Tensor&, const Origin&) const { return {}; }

 protected:
  ~Op() = default;
};

// Computes op(inputs) and records it if a gradient or the tape asks for it. The caller has inferred dtype and shape.
Tensor apply(const Op& op, std::span<const Tensor> inputs, DType dtype, Shape shape, index_t word = 0,
             AttrsRef attrs = {});
inline Tensor apply(const Op& op, std::initializer_list<Tensor> inputs, DType dtype, Shape shape, index_t word = 0,
                    AttrsRef attrs = {}) {
  return apply(op, std::span(inputs.begin(), inputs.size()), dtype, std::move(shape), word, std::move(attrs));
}

// Runs an op that changes leaves in place and has no result. A replay repeats it on the same leaves.
void apply_effect(const Op& op, std::span<const Tensor> inputs, index_t word = 0);
inline void apply_effect(const Op& op, std::initializer_list<Tensor> inputs, index_t word = 0) {
  apply_effect(op, std::span(inputs.begin(), inputs.size()), word);
}

// The unit arrays of `shape`, along a leading axis: what a Jacobian starts from. Rules recognise it, as the derivative
// of a product or an elementwise operation along it is mostly zeros.
Tensor basis(DType dtype, const Shape& shape);
inline bool is_basis(const Tensor& t) { return t.get()->basis; }

Tensor empty(DType dtype, const Shape& shape);               // uninitialised
Tensor full(DType dtype, const Shape& shape, double value);  // a constant

}  // namespace wengert
