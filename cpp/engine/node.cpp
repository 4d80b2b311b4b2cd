#include "engine/node.h"

#include <cstring>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>

#include "engine/turns.h"
#include "kernels/table.h"

namespace wengert {

std::string Shape::str() const {
  std::string s = "(";
  for (int i = 0; i < ndim_; ++i) s += (i ? ", " : "") + std::to_string((*this)[i]);
  return s + (ndim_ == 1 ? ",)" : ")");
}

Shape broadcast(const char* op, std::span<const Shape* const> shapes) {
  int ndim = 0;
  for (const Shape* s : shapes) ndim = std::max(ndim, s->ndim());
  Shape out = Shape::ones(ndim);
  for (const Shape* s : shapes)
    for (int i = 0; i < s->ndim(); ++i) {
      index_t& d = out.back(i);
      if (d == 1) {
        d = s->back(i);
      } else if (s->back(i) != 1 && s->back(i) != d) {
        std::string message = std::string(op) + ": shapes";
        for (const Shape* t : shapes) message += (t == shapes.front() ? " " : " and ") + t->str();
        throw std::invalid_argument(message + " do not broadcast: axes, counted from the last, must be equal or 1");
      }
    }
  return out;
}

namespace engine {

InterpreterLock interpreter_lock;

namespace {
std::atomic<std::uint32_t> global_epoch{0};

struct Names {
  std::mutex lock;
  std::unordered_map<const Node*, std::string> map;
};
Names& names() {
  static Names* n = new Names;
  return *n;
}

thread_local ThreadState state __attribute__((tls_model("initial-exec")));
struct TapeOwner {
  Tape* own = nullptr;
  ~TapeOwner() {
    if (own) own->release();
    state.tape = nullptr;
  }
};
thread_local TapeOwner tape_owner;

// Sizes of 0 do not hide the others: whatever strides over a shape may multiply any of its sizes.
index_t checked_bytes(DType dtype, const Shape& shape) {
  index_t n = size_of(dtype);
  bool any = true;
  for (index_t d : shape) {
    any = any && d != 0;
    if (d < 0) throw std::invalid_argument("array of shape " + shape.str() + " has a negative size");
    if (d != 0 && __builtin_mul_overflow(n, d, &n))
      throw std::invalid_argument("array of shape " + shape.str() + " is too large: its bytes do not fit in 64 bits");
  }
  return any ? n : 0;
}

Buffer* memory_for(const Shape& shape, std::size_t bytes) {
  try {
    return Buffer::create(bytes);
  } catch (const std::bad_alloc&) {
    throw OutOfMemory("array of shape " + shape.str() + ": no memory for its " + std::to_string(bytes) + " bytes");
  }
}

void unlink(Node* n) {
  Tape* t = n->tape;
  (n->prev ? n->prev->next : t->first) = n->next;
  (n->next ? n->next->prev : t->last) = n->prev;
  --t->length;
  n->tape = nullptr;
  t->release();
}

// Nodes whose turn to be freed has come; a loop instead of recursion, for chains of a million ops.
thread_local Node* doomed __attribute__((tls_model("initial-exec"))) = nullptr;
thread_local bool freeing __attribute__((tls_model("initial-exec"))) = false;

// How node n counts for its operand k.
std::uint64_t share(const Node* n, int k, const Node* in) {
  return in->op && n->reads_input(k) ? Value::reader : Value::ref;
}

void release_inputs(Node* n) noexcept {
  for (int k = 0; k < static_cast<int>(n->n_inputs); ++k)
    if (Node* in = n->input(k)) {
      n->slots()[k].node = nullptr;
      release(in, share(n, k, in));
    }
}

// A number that is nobody's but this operation's: it needs no node of its own, which would double what the operation
// costs.
bool is_passing_number(const Node* in, const Node* out) {
  return in->shape.ndim() == 0 && !in->op && !in->requires_grad && in->dtype == out->dtype && is_float(in->dtype) &&
         !in->borrowed && !in->has_name && in->counts.load(std::memory_order_acquire) == Value::reader;
}

void destroy(Node* n) noexcept {
  if (n->tape) unlink(n);
  if (n->buffer) n->buffer->release();
  if (n->adjoint) release(n->adjoint, Value::reader);
  release_inputs(n);
  if (n->has_name) {
    std::lock_guard guard(names().lock);
    names().map.erase(n);
  }
  const std::size_t bytes = sizeof(Node) + n->n_inputs * sizeof(Node::Slot);
  n->~Node();
  deallocate(n, bytes);
}
}  // namespace

void drop(Value* v) noexcept {
  Node* n = static_cast<Node*>(v);
  if (n->tape) unlink(n);
  n->next = doomed;
  doomed = n;
  if (freeing) return;
  freeing = true;
  while (doomed) {
    Node* d = std::exchange(doomed, doomed->next);
    destroy(d);
  }
  freeing = false;
}

void drop_data(Value* v) noexcept {
  Node* n = static_cast<Node*>(v);
  if (!n->op) {  // what is left are nodes that use it
    if (Value* grad = std::exchange(n->adjoint, nullptr)) release(grad, Value::reader);
    if (n->is_read) return;
  }
  if (n->buffer) {
    std::exchange(n->buffer, nullptr)->release();
    n->memory = nullptr;
    n->turned = false;
  }
}

void give_up_inputs(Node* n) {
  if (n->released) return;
  n->released = true;
  release_inputs(n);
  constexpr std::uint64_t self_reader = Value::reader - Value::ref;
  if (n->op->reads & reads_output && n->counts.fetch_sub(self_reader, std::memory_order_acq_rel) >> 32 == 1)
    drop_data(n);
}

Tensor create(DType dtype, Shape shape, std::size_t n_inputs, const Tensor* alias) {
  const auto bytes = static_cast<std::size_t>(checked_bytes(dtype, shape));
  if (alias) settle(*alias);
  if (n_inputs > Node::max_inputs)
    throw std::invalid_argument(std::to_string(n_inputs) + " operands are more than one operation can have");
  void* memory = allocate(sizeof(Node) + n_inputs * sizeof(Node::Slot));
  Node* n = new (memory) Node;
  n->dtype = dtype;
  n->shape = std::move(shape);
  n->young = state.tape && state.tape->compiling;
  n->n_inputs = n_inputs & Node::max_inputs;
  for (std::size_t k = 0; k < n_inputs; ++k) n->slots()[k].node = nullptr;
  Tensor out(n);
  if (alias) {
    n->buffer = node(*alias)->buffer;
    n->buffer->retain();
    n->memory = alias->get()->memory;
    n->borrowed = alias->get()->borrowed;
    n->turned = alias->get()->turned;
  } else {
    n->buffer = memory_for(n->shape, bytes);
    n->memory = n->buffer->data();
  }
  return out;
}

void Tape::meets_grad(Node* leaf) {
  if (grad_written.contains(leaf)) return;
  if (!leaf->adjoint)
    grad_absent.push_back(handle(leaf));
  else if (!static_cast<Node*>(leaf->adjoint)->op)
    grad_reads.emplace_back(handle(leaf), handle(leaf->adjoint));
}

bool Tape::sets_grad(Node* leaf) {
  const bool first = grad_written.insert(leaf).second;
  if (first) grad_writes.push_back(handle(leaf));
  return first;
}

void lay_out(Value* v) { lay_out(static_cast<Node*>(v), false); }

void lay_out(Node* n, bool may_unlock) {
  Buffer* const lies = n->buffer;
  Buffer* const dense = Buffer::create(lies->bytes);
  {
    std::optional<Unlocked> unlocked;
    if (may_unlock) unlocked.emplace(Readers(lies));
    dispatch(n->dtype, [&]<class T>(T) {
      kernels::table<T>().transpose(static_cast<const T*>(n->memory), static_cast<T*>(dense->data()), 1,
                                    n->shape.back(0), n->shape.back(1));
    });
  }
  if (!n->turned) return dense->release();  // another thread was faster
  n->turned = false;
  n->buffer = dense;
  n->memory = dense->data();
  lies->release();
}

ThreadState& thread_state() { return state; }

Tape& current_tape() {
  if (!state.tape) {
    if (!tape_owner.own) tape_owner.own = new Tape;
    state.tape = tape_owner.own;
  }
  return *state.tape;
}

void record(Node* out, const Op& op, std::span<const Tensor> inputs) {
  Tape& tape = current_tape();
  for (std::size_t k = 0; k < inputs.size(); ++k) {
    Node* in = node(inputs[k]);
    if (in && in->tape && in->tape != &tape)
      throw std::runtime_error(std::string(op.name) + ": operand " + std::to_string(k) +
                               " was recorded on another tape (another thread, or outside of this `with Tape()`); "
                               "use it there, or pass operand.detach()");
  }
  out->op = &op;
  for (std::size_t k = 0; k < inputs.size(); ++k) {
    Node* in = node(inputs[k]);
    if (!in) continue;
    if (k < 8 && !tape.keep && is_passing_number(in, out)) {
      out->numbers = static_cast<std::uint8_t>(out->numbers | 1 << k);
      out->slots()[k].number = in->dtype == DType::f32 ? *inputs[k].data<float>() : *inputs[k].data<double>();
      continue;
    }
    const bool reads = out->reads_input(static_cast<int>(k));
    in->counts.fetch_add(share(out, static_cast<int>(k), in), std::memory_order_relaxed);
    if (reads && !in->is_read && !in->op) in->is_read = true;
    out->slots()[k].node = in;
    if (in->borrowed && in->buffer && reads) {
      Borrowed& lent = in->buffer->lender();
      const std::uint64_t now = fingerprint(lent.data, in->buffer->bytes);
      if (lent.fingerprinted && now != lent.fingerprint) lent.changed = next_epoch();
      lent.fingerprint = now;
      lent.fingerprinted = true;
    }
  }
  if (op.reads & reads_output) out->counts.fetch_add(Value::reader - Value::ref, std::memory_order_relaxed);
  out->epoch = epoch();
  out->index = tape.recorded++;
  out->tape = &tape;
  tape.retain();
  out->prev = tape.last;
  (tape.last ? tape.last->next : tape.first) = out;
  tape.last = out;
  ++tape.length;
  if (tape.keep) {
    for (const Tensor& t : inputs)
      if (t && !node(t)->op) tape.operands.push_back(t);
    tape.kept.push_back(handle(out));
  }
}

std::uint32_t epoch() { return global_epoch.load(std::memory_order_relaxed); }
std::uint32_t next_epoch() { return global_epoch.fetch_add(1, std::memory_order_relaxed) + 1; }

void* writable_data(const Tensor& leaf, std::uint32_t now) {
  Node* n = node(leaf);
  if (n->turned) lay_out(n);
  if (!n->buffer->unique() || n->buffer->borrowed) {
    Buffer* copy = Buffer::create(n->buffer->bytes);
    std::memcpy(copy->data(), n->memory, n->buffer->bytes);
    n->buffer->release();
    n->buffer = copy;
    n->memory = copy->data();
    n->borrowed = false;
  }
  n->epoch = now;
  n->basis = false;
  return n->memory;
}

std::unordered_map<const Value*, std::uint32_t> held_beside_uses(const Tape& recording,
                                                                 std::span<const Tensor> results) {
  std::unordered_map<const Value*, std::uint32_t> held;
  for (const Tensor& t : results) ++held[t.get()];
  for (const auto* list : {&recording.grad_writes, &recording.grad_absent})
    for (const Tensor& leaf : *list) ++held[leaf.get()];
  return held;
}

void set_name(Node* n, std::string name) {
  std::lock_guard guard(names().lock);
  n->has_name = !name.empty();
  if (n->has_name)
    names().map[n] = std::move(name);
  else
    names().map.erase(n);
}

std::string name_of(const Node* n) {
  if (!n->has_name) return "";
  std::lock_guard guard(names().lock);
  return names().map.at(n);
}

}  // namespace engine

Tensor empty(DType dtype, const Shape& shape) { return engine::create(dtype, shape, 0); }

Tensor full(DType dtype, const Shape& shape, double value) {
  Tensor t = empty(dtype, shape);
  const index_t n = shape.size();
  if (dtype == DType::f32)
    std::fill_n(t.data<float>(), n, static_cast<float>(value));
  else if (dtype == DType::f64)
    std::fill_n(t.data<double>(), n, value);
  else if (dtype == DType::i64)
    std::fill_n(t.data<index_t>(), n, static_cast<index_t>(value));
  else
    std::fill_n(t.data<bool>(), n, value != 0);
  return t;
}

Tensor::Tensor(double number) : Tensor(full(DType::f64, {}, number)) { v_->weak = true; }

}  // namespace wengert
