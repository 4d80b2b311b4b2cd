// A node is a value and how it came about. The nodes of a tape form a list in recording order, which is a topological
// order; a node leaves the list when nothing refers to it any more. Leaves and constants are nodes without an op.
#pragma once
#include <mutex>
#include <span>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "engine/memory.h"
#include "ops/tensor.h"

namespace wengert::engine {

struct Node;

// The list itself. Each thread has a current one; nodes keep their tape alive.
struct Tape {
  Node* first = nullptr;
  Node* last = nullptr;
  std::uint64_t recorded = 0;    // nodes ever recorded: the next index
  std::size_t length = 0;        // nodes on the list now
  bool keep = false;             // a tape made visible, or a recording to be replayed: everything stays on it
  std::vector<Tensor> kept;      // its nodes
  std::vector<Tensor> operands;  // the leaves and constants they use, as often as they are used
  bool visible = false;          // shown to people: sweeps do not add to it, but leave their cotangents
  std::unordered_map<const Node*, Tensor> adjoints;
  bool compiling = false;                             // a recording for a Program (program.h), which needs to know:
  std::vector<std::pair<Tensor, Tensor>> grad_reads;  // leaves whose earlier .grad was added to, and that .grad
  std::vector<Tensor> grad_writes;                    // leaves whose .grad was set, each once
  std::unordered_set<const Node*> grad_written;       // the same
  std::vector<Tensor> grad_absent;                    // leaves that had none when a backward came to them first
  std::vector<std::pair<Tensor, Tensor>> stand_ins;   // of arguments that are leaves, each with its leaf
  bool argument_changed = false;                      // one of these leaves was changed in place
  Tape* before = nullptr;                             // what the thread records on otherwise
  std::recursive_mutex sweeping;                      // one sweep at a time, which uses the nodes' adjoints; they nest
  std::atomic<std::uint32_t> refs{1};

  void meets_grad(Node* leaf);  // notes the .grad of before that is asked for, or that there is none
  bool sets_grad(Node* leaf);   // notes it, and says whether for the first time
  void retain() { refs.fetch_add(1, std::memory_order_relaxed); }
  void release() noexcept {
    if (refs.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }
};

// Who counts. A handle is a reader. A node that refers to the result of another is a reader of it if its rule reads the
// data, else only a reference. To leaves and constants nodes are references only, so that the readers of one are its
// handles: when the last has gone nobody can ask for its .grad, which is given up, or they might keep one another for
// ever (leaf -> .grad -> the graph that made it -> leaf).
struct Node : Value {
  std::uint8_t numbers = 0;  // operands (bit k) that are constant numbers: their slots hold them, as doubles
  const Op* op = nullptr;
  Tape* tape = nullptr;
  Node* prev = nullptr;
  Node* next = nullptr;
  Value* adjoint = nullptr;  // during a sweep: cotangent, or tangent in a forward push. Of a leaf: its .grad
  Buffer* buffer = nullptr;  // none once the data are given back
  std::uint64_t index = 0;   // position on the tape, if it has an op
  index_t word = 0;
  AttrsRef attrs;
  std::uint32_t mark = 0;  // the sweep this node takes part in
  static constexpr std::size_t max_inputs = (std::size_t{1} << 29) - 1;
  std::uint32_t n_inputs : 29 = 0;
  bool released : 1 = false;  // its inputs were given up by a backward
  bool has_name : 1 = false;
  bool is_read : 1 = false;  // of a leaf or constant: the rule of some node reads the data

  // An operand; null where there is none, where it was given up, or where it is a number.
  Node* input(int k) const { return has_number(k) ? nullptr : slots()[k].node; }
  bool has_number(int k) const { return k < 8 && (numbers >> k & 1); }
  double number(int k) const { return slots()[k].number; }
  union Slot {
    Node* node;
    double number;
  };
  Slot* slots() { return reinterpret_cast<Slot*>(this + 1); }
  const Slot* slots() const { return reinterpret_cast<const Slot*>(this + 1); }

  bool is_leaf() const { return requires_grad && !op; }
  bool reads_input(int k) const { return k >= 31 || (op->reads >> k & 1); }
};

static_assert(sizeof(Node) == 128, "an operation on small arrays must not cost more than 200 bytes");

inline Node* node(const Tensor& t) { return static_cast<Node*>(t.get()); }
// A new handle on a node.
inline Tensor handle(Value* v) {
  v->counts.fetch_add(Value::reader, std::memory_order_relaxed);
  return Tensor(v);
}

// While the lock of the interpreter is given up, if it may be, another thread may do the same.
void lay_out(Node* n, bool may_unlock);

// A node with room for its inputs and, unless `alias` lends its memory as it lies, uninitialised data.
Tensor create(DType dtype, Shape shape, std::size_t n_inputs, const Tensor* alias = nullptr);

struct ThreadState {
  Tape* tape = nullptr;  // made on first use
  bool grad_enabled = true;
  bool may_unlock = true;  // see Unlocked
};
ThreadState& thread_state();
Tape& current_tape();

// Nobody else can see this tensor or its memory, so it may be overwritten.
inline bool is_unique(const Tensor& t) {
  return t.get()->counts.load(std::memory_order_acquire) == Value::reader && node(t)->buffer->unique() &&
         !node(t)->borrowed && !node(t)->op;
}

// Somebody can still ask for what belongs to a leaf or constant alone, such as its .grad.
inline bool has_handle(const Node* leaf) { return leaf->counts.load(std::memory_order_acquire) >> 32 != 0; }

// Gives up the inputs of a swept node: its rule cannot run again.
void give_up_inputs(Node* n);

// Puts an already computed node on the current tape.
void record(Node* out, const Op& op, std::span<const Tensor> inputs);

// Scopes.
struct GradMode {
  explicit GradMode(bool on) : before_(std::exchange(thread_state().grad_enabled, on)) {}
  ~GradMode() { thread_state().grad_enabled = before_; }
  GradMode(const GradMode&) = delete;

 private:
  bool before_;
};

// Nodes, tapes and gradients are protected by the lock of the interpreter that the engine serves, if it serves one.
// Long kernels need only their operands' memory, so they run without it and other threads go on. Set by the bindings.
struct InterpreterLock {
  void* (*release)() = nullptr;  // null if this thread does not hold it
  void (*acquire)(void* released) = nullptr;
  void (*look_for_signals)() = nullptr;  // throws, as for Ctrl-C; by who waits
};
extern InterpreterLock interpreter_lock;

// A scope without the lock, in which these buffers are read.
class Unlocked {
 public:
  explicit Unlocked(Readers readers = {})
      : readers_(std::move(readers)), released_(interpreter_lock.release ? interpreter_lock.release() : nullptr) {}
  ~Unlocked() {
    if (released_) interpreter_lock.acquire(released_);
  }
  Unlocked(const Unlocked&) = delete;

 private:
  Readers readers_;  // given up under the lock
  void* released_;
};

// A scope in which no operation gives up the lock: what it does is done at once for all other threads.
struct Undivided {
  Undivided() : before_(std::exchange(thread_state().may_unlock, false)) {}
  ~Undivided() { thread_state().may_unlock = before_; }
  Undivided(const Undivided&) = delete;

 private:
  bool before_;
};

// Changing a leaf in place: counts up, so that a node recorded before the change knows that it is stale.
std::uint32_t next_epoch();
std::uint32_t epoch();

// Copies the data first if anybody else (a NumPy view, a reshaped or detached tensor) looks at them.
void* writable_data(const Tensor& leaf, std::uint32_t now = next_epoch());

// How often a recording with these results refers to leaves beside their uses, of which each counts twice (as an
// operand and in Tape::operands). A leaf that has no other references is the recording's own.
std::unordered_map<const Value*, std::uint32_t> held_beside_uses(const Tape& recording,
                                                                 std::span<const Tensor> results);

void set_name(Node* n, std::string name);
std::string name_of(const Node* n);  // "" if none

}  // namespace wengert::engine
