#include "engine/sweep.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <unordered_map>

#include "engine/turns.h"
#include "kernels/table.h"
#include "kernels/threads.h"
#include "ops/functions.h"
#include "ops/kinks.h"

namespace wengert::engine {
namespace {

std::atomic<std::uint32_t> sweeps{0};

// Both directions: which nodes take part, and the extra leading axis. A tape may keep everything, so that a node
// depends on another does not make it differentiable: only what was recorded as requiring gradients ever takes part.
struct Walk {
  const std::uint32_t id = sweeps.fetch_add(1, std::memory_order_relaxed) + 1;
  index_t batch = -1;
  bool linear = false;  // what is recorded depends on the seeds alone

  // An operand or result as a rule reads it. A formula is built on the thing itself, and only then swept.
  Tensor read(Tensor t, bool in_formula) const {
    return linear && !in_formula && t && t.requires_grad() ? detach(t) : t;
  }
  Shape batched(const Shape& shape) const {
    if (batch < 0) return shape;
    Shape s = Shape::ones(shape.ndim() + 1);
    s[0] = batch;
    std::copy(shape.begin(), shape.end(), s.begin() + 1);
    return s;
  }
  Tensor in_full(Tensor t, const Shape& shape) const {
    if (batch < 0 && t.shape() == shape) return t;
    const Shape want = batched(shape);
    return t.shape() == want ? t : broadcast_to(t, want);
  }
};

std::string describe(const Node* n) {
  const std::string name = name_of(n);
  return std::string(n->op ? n->op->name : "a tensor") + (name.empty() ? "" : " '" + name + "'");
}

// A rule that mixes up element types would be wrong silently.
void check_dtype(const Node* n, const Tensor& derivative, DType want) {
  if (derivative.dtype() != want)
    throw std::logic_error(std::string(n->op->name) + ": its rule gives " + name_of(derivative.dtype()) + " where " +
                           name_of(want) + " is due");
}

// Operand k of n, for a rule that reads it.
Tensor operand(const Node* n, int k) {
  Node* in = n->input(k);
  if (n->has_number(k)) {
    Tensor number = full(n->dtype, {}, n->number(k));
    number.get()->number = true;
    return number;
  }
  if (!in) return {};
  if (!in->op && in->epoch > n->epoch)
    throw std::runtime_error(std::string(n->op->name) + ": operand " + std::to_string(k) + " (" + describe(in) +
                             ", shape " + in->shape.str() +
                             ") was changed in place after it was recorded; compute the result again");
  if (in->borrowed && in->buffer && in->buffer->borrowed) {
    const Borrowed& lent = in->buffer->lender();
    if (lent.fingerprinted &&
        (lent.changed > n->epoch || fingerprint(lent.data, in->buffer->bytes) != lent.fingerprint))
      throw std::runtime_error(std::string(n->op->name) + ": the NumPy buffer behind operand " + std::to_string(k) +
                               " (shape " + in->shape.str() +
                               ") was changed after it was recorded; use wg.tensor, which copies");
  }
  return handle(in);
}

int sign_of_operand(const Node* n, int k, int depth = 8);

// 1 if n can be seen to be nowhere negative, -1 if nowhere positive, else 0: by its form, so that a replay may rely on
// it.
int certain_sign(const Node* n, int depth) {
  if (!n) return 0;
  if (const auto c = number_in(*n)) return *c >= 0 ? 1 : -1;
  if (!n->op || n->released || depth == 0) return 0;
  const auto of = [&](int k) { return sign_of_operand(n, k, depth - 1); };
  const auto is_negative_of = [](const Node* a, const Node* b) {
    return a && a->op && a->op->sign == Sign::opposite && !a->released && a->input(0) == b;
  };
  const Node *a = n->input(0), *b = n->n_inputs > 1 ? n->input(1) : nullptr;
  switch (n->op->sign) {
    case Sign::as_operand:
      return of(0);
    case Sign::opposite:
      return -of(0);
    case Sign::not_negative:
      return 1;
    case Sign::product:
      return a && a == b ? 1 : is_negative_of(a, b) || is_negative_of(b, a) ? -1 : of(0) * of(1);
    case Sign::sum:
      return of(0) == of(1) ? of(0) : 0;
    case Sign::power: {
      const auto power = n->has_number(1) ? std::optional(n->number(1)) : b ? number_in(*b) : std::nullopt;
      return power && std::fmod(*power, 2) == 0 ? 1 : 0;
    }
    case Sign::unknown:
      break;
  }
  return 0;
}

int sign_of_operand(const Node* n, int k, int depth) {
  if (n->has_number(k)) return n->number(k) >= 0 ? 1 : -1;
  return certain_sign(n->input(k), depth);
}

const Shape& operand_shape(const Node* n, int k) {
  static const Shape of_number{};
  return n->has_number(k) ? of_number : n->input(k)->shape;
}

// A derivative to hand out: never the seed itself, which may be kept for the next Jacobian.
Tensor handed_out(Tensor t) { return is_basis(t) ? copy(t) : t; }

// old + more, in place where nobody can tell.
Tensor accumulate(Tensor old, const Tensor& more) {
  if (!thread_state().grad_enabled && is_unique(old) && old.shape() == more.shape() && old.dtype() == more.dtype()) {
    dispatch(old.dtype(), [&]<class T>(T) {
      parallel_for(old.size(), 16384, [to = old.data<T>(), from = more.data<T>()](index_t begin, index_t end) {
        const T* in[] = {to + begin, from + begin};
        const index_t steps[] = {1, 1};
        kernels::table<T>().map[map_add](in, steps, to + begin, end - begin);
      });
    });
    return old;
  }
  return add(old, more);
}

// The operation behind `input_node`: the identity.
struct InputOp final : Op {
  InputOp() : Op("input") { alias = true; }
  void run(const Array*, int, const Array&, Params) const override {}
  void vjp(Pullback& p) const override {
    if (p.needs(0)) p.add(0, p.lazy_g());  // unlike other results it requires gradients even if its operand does not
  }
  Tensor jvp(Pushforward& p) const override { return p.tangent(0); }
};
const InputOp input_op;

// Cotangents by node, for few nodes mostly.
class Results {
 public:
  Tensor& operator[](Node* n) {
    if (items_.size() > 16) {
      auto [at, is_new] = index_.try_emplace(n, items_.size());
      if (is_new) items_.push_back({n, {}});
      return items_[at->second].second;
    }
    for (auto& [key, value] : items_)
      if (key == n) return value;
    items_.push_back({n, {}});
    if (items_.size() == 17)
      for (std::size_t i = 0; i < items_.size(); ++i) index_[items_[i].first] = i;
    return items_.back().second;
  }
  auto begin() { return items_.begin(); }
  auto end() { return items_.end(); }

 private:
  std::vector<std::pair<Node*, Tensor>> items_;
  std::unordered_map<Node*, std::size_t> index_;
};

// Work on the tape that a node is on, whichever is current. A visible tape lists the program, not its sweeps, unless
// these are to be differentiated in turn.
struct OnTape {
  explicit OnTape(Tape* t) : before_(thread_state().tape) {
    if (!t) return;
    if (!t->sweeping.try_lock()) {  // by another thread, which may need the interpreter to go on
      const Unlocked unlocked;
      t->sweeping.lock();
    }
    (locked_ = t)->retain();
    thread_state().tape = t;
    if (t->visible && t->keep && !thread_state().grad_enabled) (hidden_from_ = t)->keep = false;
  }
  ~OnTape() {
    thread_state().tape = before_;
    if (hidden_from_) hidden_from_->keep = true;
    if (!locked_) return;
    locked_->sweeping.unlock();
    locked_->release();
  }
  OnTape(const OnTape&) = delete;

 private:
  Tape* before_;
  Tape* hidden_from_ = nullptr;
  Tape* locked_ = nullptr;
};

// --- reverse ---------------------------------------------------------------------------------------------------
class Sweep final : public Walk {
 public:
  bool pruned = false;      // only nodes marked with our id take part
  bool release = false;     // swept nodes give up their inputs in the end
  bool remember = false;    // leave the cotangents on a visible tape
  std::uint64_t begin = 0;  // nodes before this one are not swept: their cotangents are results
  Results results;          // the cotangents of leaves, or of the nodes we were asked for

  ~Sweep() {
    for (Node* n : swept_) engine::release(n, Value::ref);
    for (Node* n = at_; n && pending_; n = n->prev)  // left by an exception
      if (n->op && n->adjoint) Tensor(std::exchange(n->adjoint, nullptr)), --pending_;
  }

  bool needs(const Node* n) const { return n->requires_grad && (!pruned || n->mark == id); }

  // The chain rule as a sum over consumers: each adds its share.
  void add(Node* to, Tensor c) {
    if (!to->op || to->index < begin) {
      Tensor& total = results[to];
      total = total ? accumulate(std::move(total), c) : std::move(c);
    } else if (to->adjoint) {
      to->adjoint = accumulate(Tensor(std::exchange(to->adjoint, nullptr)), c).take();
    } else {
      to->adjoint = c.take();
      ++pending_;
    }
  }

  Tensor take(Node* from) {
    if (!from->op || from->index < begin) return std::exchange(results[from], Tensor());
    if (from->adjoint) --pending_;
    return Tensor(std::exchange(from->adjoint, nullptr));
  }

  // From `n` on, whatever is differentiable and depends on a marked node is marked.
  void mark_from(Node* n) {
    for (; n; n = n->next)
      for (int k = 0; n->requires_grad && k < static_cast<int>(n->n_inputs) && n->mark != id; ++k)
        if (Node* in = n->input(k); in && in->mark == id) n->mark = id;
  }

  // Backwards over the list: the whole of reverse mode.
  void run(Node* from, std::uint64_t first_index, std::span<const Tensor> stop_at = {});

  void finish() {
    if (release)
      for (Node* n : swept_) give_up_inputs(n);
  }

 private:
  Node* at_ = nullptr;
  std::size_t pending_ = 0;  // nodes that hold a cotangent
  std::vector<Node*> swept_;
};

class SweepRule final : public Pullback {
 public:
  SweepRule(Sweep& s, Node* n, Tensor g) : s_(s), n_(n), g_(std::move(g)) {}
  bool needs(int k) const override { return n_->input(k) && s_.needs(n_->input(k)); }
  int n_inputs() const override { return static_cast<int>(n_->n_inputs); }
  Tensor input(int k) const override { return s_.read(operand(n_, k), in_formula_); }
  Tensor output() const override { return s_.read(handle(n_), in_formula_); }
  const Shape& input_shape(int k) const override { return operand_shape(n_, k); }
  DType input_dtype(int k) const override { return n_->input(k)->dtype; }
  const Shape& output_shape() const override { return n_->shape; }
  Params params() const override { return {n_->word, n_->attrs.get()}; }
  bool recorded() const override { return thread_state().grad_enabled; }
  int sign(int k) const override { return sign_of_operand(n_, k); }
  Tensor lazy_g() const override { return g_; }
  Tensor g() const override { return s_.in_full(g_, n_->shape); }
  Shape batched(const Shape& s) const override { return s_.batched(s); }

  void add(int k, Tensor c) override {
    Node* in = n_->input(k);
    check_dtype(n_, c, in->dtype);
    s_.add(in, std::move(c));
  }

  Tensor take(int k) override {
    Tensor total = s_.take(n_->input(k));
    return total ? s_.in_full(std::move(total), input_shape(k)) : total;
  }

  void add_broadcast(int k, Tensor c) override {
    Node* in = n_->input(k);
    check_dtype(n_, c, in->dtype);
    if (!(n_->shape == in->shape)) c = unbroadcast(std::move(c), n_->shape, in->shape);
    s_.add(in, std::move(c));
  }

  void begin_formula() override {
    in_formula_ = true;
    first_ = current_tape().recorded;
    grad_enabled_ = std::exchange(thread_state().grad_enabled, true);
  }
  void end_formula(const Tensor& formula) override {
    thread_state().grad_enabled = grad_enabled_;
    in_formula_ = false;
    if (!formula || !formula.requires_grad()) return;
    Node* last = current_tape().last;
    if (s_.pruned) {
      Node* n = last;
      while (n->prev && n->prev->index >= first_) n = n->prev;
      s_.mark_from(n);
    }
    if (!s_.needs(node(formula))) return;
    s_.add(node(formula), g_);
    s_.run(last, first_);
  }

 private:
  Tensor unbroadcast(Tensor c, const Shape& from, const Shape& to) const {
    const int lead = s_.batch >= 0;
    std::vector<index_t> summed;
    double copies = 1;  // along an axis where the contribution is constant, the sum is a product
    for (int i = 0; i < from.ndim(); ++i) {
      if (i < to.ndim() && to.back(i) == from.back(i)) continue;
      if (c.shape().back(i) == from.back(i))
        summed.push_back(-1 - i);
      else
        copies *= static_cast<double>(from.back(i));
    }
    if (!summed.empty()) c = sum(c, summed, true);
    if (copies != 1) c = c * copies;
    if (c.ndim() == to.ndim() + lead) return c;
    Shape s = Shape::ones(to.ndim() + lead);  // drop the leading ones
    for (int i = 0; i < to.ndim(); ++i) s.back(i) = c.shape().back(i);
    if (lead) s[0] = c.shape()[0];
    return reshape(c, s);
  }

  Sweep& s_;
  Node* n_;
  Tensor g_;
  std::uint64_t first_ = 0;
  bool grad_enabled_ = false;
  bool in_formula_ = false;
};

void Sweep::run(Node* from, std::uint64_t first_index, std::span<const Tensor> stop_at) {
  for (Node* n = from; n && n->index >= first_index && pending_; n = n->prev) {
    if (!n->adjoint) continue;
    if (first_index == 0) at_ = n;
    Tensor g(std::exchange(n->adjoint, nullptr));
    --pending_;
    if (remember && first_index == 0) n->tape->adjoints[n] = g;
    if (n->op == &input_op && std::any_of(stop_at.begin(), stop_at.end(), [n](auto& t) { return t.get() == n; })) {
      results[n] = std::move(g);
      continue;
    }
    if (n->released)
      throw std::runtime_error("backward: the tape behind " + describe(n) +
                               " was released by an earlier backward; pass retain_tape=True to that one");
    n->counts.fetch_add(Value::ref, std::memory_order_relaxed);
    swept_.push_back(n);
    SweepRule rule(*this, n, std::move(g));
    n->op->vjp(rule);
  }
}

// --- forward ---------------------------------------------------------------------------------------------------
class Push final : public Walk {
 public:
  ~Push() {
    for (Node* n : touched_) {
      if (n->adjoint) Tensor(std::exchange(n->adjoint, nullptr));
      engine::release(n, Value::ref);
    }
  }
  void set(Node* n, Tensor t) {
    hold(n);
    n->adjoint = t.take();
  }
  // A tangent of this push: an adjoint alone may belong to a sweep or push whose rule runs this one.
  bool has(const Node* n) const { return n && n->mark == id && n->adjoint; }
  void run(Node* from, const Node* last);

 private:
  void hold(Node* n) {
    n->counts.fetch_add(Value::ref, std::memory_order_relaxed);
    touched_.push_back(n);
    n->mark = id;
  }
  std::vector<Node*> touched_;
};

class PushRule final : public Pushforward {
 public:
  PushRule(Push& p, Node* n) : p_(p), n_(n) {}
  int n_inputs() const override { return static_cast<int>(n_->n_inputs); }
  Tensor input(int k) const override { return p_.read(operand(n_, k), in_formula_); }
  Tensor output() const override { return p_.read(handle(n_), in_formula_); }
  const Shape& input_shape(int k) const override { return operand_shape(n_, k); }
  const Shape& output_shape() const override { return n_->shape; }
  DType output_dtype() const override { return n_->dtype; }
  Params params() const override { return {n_->word, n_->attrs.get()}; }
  bool recorded() const override { return thread_state().grad_enabled; }
  int sign(int k) const override { return sign_of_operand(n_, k); }
  bool has_tangent(int k) const override { return p_.has(n_->input(k)); }
  Tensor tangent(int k) const override {
    Node* in = n_->input(k);
    return p_.has(in) ? handle(in->adjoint) : full(in ? in->dtype : n_->dtype, batched(operand_shape(n_, k)), 0);
  }
  Shape batched(const Shape& s) const override { return p_.batched(s); }

  void begin_formula() override {
    in_formula_ = true;
    first_ = current_tape().recorded;
    grad_enabled_ = std::exchange(thread_state().grad_enabled, true);
  }
  Tensor end_formula(const Tensor& formula) override {
    thread_state().grad_enabled = grad_enabled_;
    in_formula_ = false;
    if (!formula) return {};
    Node* last = current_tape().last;
    Node* n = last;
    while (n->prev && n->prev->index >= first_) n = n->prev;
    if (n->index >= first_) p_.run(n, last);
    Node* f = node(formula);
    return p_.has(f) ? handle(f->adjoint) : full(f->dtype, batched(f->shape), 0);
  }

 private:
  Push& p_;
  Node* n_;
  std::uint64_t first_ = 0;
  bool grad_enabled_ = false;
  bool in_formula_ = false;
};

void Push::run(Node* from, const Node* last) {
  for (Node* n = from;; n = n->next) {
    bool active = false;
    for (int k = 0; n->requires_grad && k < static_cast<int>(n->n_inputs) && !active && !n->adjoint; ++k)
      active = has(n->input(k));
    if (active) {
      hold(n);  // its owner may drop it while the rule runs
      PushRule rule(*this, n);
      Tensor t = n->op->jvp(rule);
      check_dtype(n, t, n->dtype);
      n->adjoint = in_full(std::move(t), n->shape).take();
    }
    if (n == last) return;
  }
}

}  // namespace

Tensor input_node(const Tensor& x) {
  Tensor out = create(x.dtype(), x.shape(), 1, &x);
  node(out)->requires_grad = true;
  record(node(out), input_op, {&x, 1});
  return out;
}

bool reaches_outside(std::span<const Tensor> inputs, std::span<const Tensor> outputs) {
  Node* first = nullptr;
  for (const Tensor& x : inputs)
    if (!first || node(x)->index < first->index) first = node(x);
  const auto outside = [first](const Node* n) {
    return n && n->requires_grad && (!first || !n->op || n->index < first->index);
  };
  for (Node* n = first; n; n = n->next)
    for (int k = 0; n->requires_grad && k < static_cast<int>(n->n_inputs); ++k)
      if (outside(n->input(k))) return true;
  return std::any_of(outputs.begin(), outputs.end(), [&](const Tensor& y) { return outside(node(y)); });
}

void backward(const Tensor& output, const Tensor& seed, bool retain_tape, bool create_graph) {
  Node* root = node(output);
  if (!root->requires_grad)
    throw std::runtime_error(
        "backward: the result does not depend on any tensor with requires_grad=True (or was computed under no_grad)");
  Sweep s;
  s.release = !retain_tape && !create_graph && root->tape && !root->tape->keep;
  s.remember = root->tape && root->tape->visible;
  {
    GradMode mode(create_graph);
    OnTape tape(root->tape);
    if (s.remember) root->tape->adjoints.clear();
    s.add(root, seed);
    if (root->op) s.run(root, 0);
    for (auto& [leaf, g] : s.results) g = s.in_full(std::move(g), leaf->shape);
    if (open_turns.load(std::memory_order_relaxed)) {
      std::vector<Tensor> leaves;
      for (auto& [leaf, g] : s.results) leaves.push_back(handle(leaf));
      may_change(leaves);
    }
    const Undivided whole;  // other threads add to the same .grad
    for (auto& [leaf, g] : s.results) {
      if (s.remember) root->tape->adjoints[leaf] = g;
      if (!has_handle(leaf)) continue;  // who would ask for it?
      if (Tape& t = current_tape(); t.compiling) {
        const bool first = t.sets_grad(leaf);
        if (first && !leaf->adjoint) t.grad_absent.push_back(handle(leaf));
        if (leaf->adjoint && !static_cast<Node*>(leaf->adjoint)->op)
          t.grad_reads.emplace_back(handle(leaf), handle(leaf->adjoint));
      }
      if (leaf->adjoint) g = accumulate(Tensor(std::exchange(leaf->adjoint, nullptr)), g);
      leaf->adjoint = g.take();
    }
  }
  s.finish();
}

std::vector<Tensor> gradients(std::span<const Tensor> outputs, std::span<const Tensor> seeds,
                              std::span<const Tensor> wrt, bool create_graph, index_t batch, bool linear) {
  Sweep s;
  s.pruned = true;
  s.batch = batch;
  s.linear = linear && create_graph;
  Node* first = nullptr;
  for (const Tensor& x : wrt) {
    node(x)->mark = s.id;
    if (!first || node(x)->index < first->index) first = node(x);
  }
  GradMode mode(create_graph);
  OnTape tape(first ? first->tape : nullptr);
  s.remember = first && first->tape->visible && batch < 0;
  if (s.remember) first->tape->adjoints.clear();
  if (first) s.mark_from(first);
  Node* last = nullptr;
  for (std::size_t k = 0; k < outputs.size(); ++k) {
    Node* n = node(outputs[k]);
    if (!seeds[k] || n->mark != s.id) continue;
    if (!last || n->index > last->index) last = n;
    s.add(n, seeds[k]);
  }
  s.run(last, 0, wrt);
  std::vector<Tensor> result;
  for (const Tensor& x : wrt) {
    Tensor g = s.results[node(x)];
    result.push_back(g ? handed_out(s.in_full(g, x.shape())) : full(x.dtype(), s.batched(x.shape()), 0));
  }
  return result;
}

std::vector<Tensor> contributions(const Tensor& output, const Tensor& cotangent) {
  Node* n = node(output);
  Sweep s;
  s.begin = n->index;
  GradMode mode(false);
  OnTape tape(n->tape);
  s.add(n, cotangent);
  s.run(n, n->index);
  std::vector<Tensor> result;
  for (int k = 0; k < static_cast<int>(n->n_inputs); ++k) {
    Node* in = n->input(k);
    Tensor g = in && in->requires_grad ? s.results[in] : Tensor();
    result.push_back(g ? s.in_full(g, in->shape) : Tensor());
  }
  return result;
}

std::vector<Tensor> push(std::span<const Tensor> wrt, std::span<const Tensor> tangents, std::span<const Tensor> outputs,
                         index_t batch, bool linear) {
  Push p;
  p.batch = batch;
  p.linear = linear && thread_state().grad_enabled;
  Node* first = nullptr;
  Node* last = nullptr;
  for (std::size_t k = 0; k < wrt.size(); ++k) {
    if (!first || node(wrt[k])->index < first->index) first = node(wrt[k]);
    p.set(node(wrt[k]), tangents[k]);
  }
  OnTape tape(first ? first->tape : nullptr);
  for (const Tensor& y : outputs)
    if (node(y)->op && node(y)->tape == first->tape && (!last || node(y)->index > last->index)) last = node(y);
  if (first && last && last->index >= first->index) p.run(first, last);
  std::vector<Tensor> result;
  for (const Tensor& y : outputs)
    result.push_back(p.has(node(y)) ? handed_out(handle(node(y)->adjoint)) : full(y.dtype(), p.batched(y.shape()), 0));
  return result;
}

}  // namespace wengert::engine

namespace wengert {
Origin origin(const Tensor& t) {
  const engine::Node* n = engine::node(t);
  if (!n->op || n->released) return {};
  Origin from{n->op, {n->word, n->attrs.get()}, {}};
  for (int k = 0; k < static_cast<int>(n->n_inputs); ++k) {
    engine::Node* in = n->input(k);
    const bool readable = n->reads_input(k) || n->has_number(k);
    from.operands.push_back(readable ? engine::operand(n, k) : in ? engine::handle(in) : Tensor());
  }
  return from;
}
}  // namespace wengert
