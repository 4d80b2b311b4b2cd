// From a recording to a plan: the passes that make a Program, in the order in which they run.
#include <algorithm>
#include <map>
#include <optional>
#include <typeinfo>
#include <unordered_map>

#include "engine/program.h"
#include "engine/step.h"
#include "ops/functions.h"
#include "ops/map.h"
#include "ops/matmul.h"

namespace wengert::engine {
namespace {

struct Val {
  DType dtype;
  Shape shape;
  int base;         // itself, or the value whose memory it shares
  Tensor external;  // a leaf or constant
  int argument = -1;
  int output = -1;          // its memory is this output's
  bool constant = false;    // external, and nobody can change it
  Node* node = nullptr;     // its recorded value
  std::size_t made_at = 0;  // how many instructions precede it
  int def = -1, last = -1;  // steps
  int place = -1;           // the value whose place it takes over; of that value, `until` is when the place is free
  int until = -1;
  index_t offset = -1;
  int slot = -1;
  index_t size() const { return shape.size(); }
  index_t bytes() const { return size() * size_of(dtype); }
};

struct Instr {
  const Op* op;
  std::vector<int> in;  // -1: not read
  int out;              // -1: an effect
  index_t word;
  AttrsRef attrs;
  bool dead = false;
  int bias = -1;  // of a matmul
  const MapOp* activation = nullptr;
  int operand = -1, operand_at = 0, c_at = 0;  // of the activation, beside the product
};

}  // namespace

// The passes, in the order in which they run.
struct ProgramBuilder {
  Program& program;
  Tape& tape;
  std::span<const Tensor> arguments, results;
  std::vector<Val> vals;
  std::vector<Instr> code;
  std::unordered_map<const Value*, int> ids;
  std::vector<std::pair<int, Tensor>> wanted;  // value, leaf whose .grad it becomes (empty: a result)

  int base(int v) const { return vals[static_cast<std::size_t>(v)].base; }
  Val& val(int v) { return vals[static_cast<std::size_t>(v)]; }

  int add_val(DType dtype, const Shape& shape) {
    const int id = static_cast<int>(vals.size());
    vals.push_back(Val{dtype, shape, id, {}, -1, -1, false, nullptr, code.size(), -1, -1, -1, -1, -1, -1});
    return id;
  }

  int id_of(Node* n) {
    if (auto at = ids.find(n); at != ids.end()) return at->second;
    const int id = add_val(n->dtype, n->shape);  // not on the recording: from outside
    val(id).external = handle(n);
    ids[n] = id;
    return id;
  }

  void read_tape() {
    std::unordered_map<const Value*, index_t> uses;
    for (const Tensor& t : tape.kept)
      for (int k = 0; k < node(t)->n_inputs; ++k) ++uses[node(t)->inputs()[k]];
    std::unordered_map<const Value*, int> argument_index;
    for (std::size_t i = 0; i < arguments.size(); ++i) argument_index[arguments[i].get()] = static_cast<int>(i);
    for (const Tensor& t : tape.kept) {
      Node* n = node(t);
      if (auto at = argument_index.find(n); at != argument_index.end()) {
        const int id = ids[n] = add_val(n->dtype, n->shape);
        val(id).argument = at->second;
        continue;
      }
      ++program.stats_.recorded;
      std::vector<int> in;
      for (int k = 0; k < n->n_inputs; ++k) {
        Node* x = n->inputs()[k];
        if (!x) {
          in.push_back(-1);
          continue;
        }
        const bool known = ids.count(x);
        in.push_back(id_of(x));
        // Made while recording and held by nothing but the recording (each use, and Tape::operands): a constant.
        if (!known && val(in.back()).external)
          val(in.back()).constant =
              static_cast<index_t>(static_cast<std::uint32_t>(x->counts.load())) == 2 * uses[x] + 1;
      }
      if (n->op->alias) {
        const int id = ids[n] = add_val(n->dtype, n->shape);
        val(id).base = base(in[0]);
        continue;
      }
      int out = -1;
      if (!n->op->writes) {
        out = ids[n] = add_val(n->dtype, n->shape);
        val(out).node = n;
      }
      code.push_back({n->op, std::move(in), out, n->word, n->attrs});
    }
    for (const Tensor& r : results) wanted.emplace_back(id_of(node(r)), Tensor());
    for (const auto& [leaf, before] : tape.grad_reads) {
      const int id = id_of(node(before));
      program.grad_reads_.emplace_back(id, leaf);
    }
    program.grad_absent_ = tape.grad_absent;
    std::vector<Value*> seen;
    for (const Tensor& leaf : tape.grad_writes) {
      if (std::find(seen.begin(), seen.end(), leaf.get()) != seen.end()) continue;
      seen.push_back(leaf.get());
      if (Value* g = node(leaf)->adjoint)
        wanted.emplace_back(id_of(static_cast<Node*>(g)), leaf);
      else
        program.grad_clears_.push_back(leaf);
    }
  }

  // An alias of a leaf shows the values of when it was taken; if the leaf is written and the alias read later, it must
  // be a copy.
  void protect_aliases() {
    std::map<int, std::size_t> last_write;
    for (std::size_t i = 0; i < code.size(); ++i)
      for (std::size_t k = 0; k < code[i].in.size(); ++k)
        if (code[i].op->writes_to(k) && code[i].in[k] >= 0) last_write[base(code[i].in[k])] = i;
    std::map<int, int> copies;  // alias -> its copy
    auto look = [&](int v, std::size_t reader) {
      if (v < 0 || v == base(v)) return;
      if (auto w = last_write.find(base(v)); w != last_write.end() && val(v).made_at <= w->second && w->second < reader)
        copies.try_emplace(v, -1);
    };
    for (std::size_t i = 0; i < code.size(); ++i)
      for (int v : code[i].in) look(v, i);
    for (auto& [v, leaf] : wanted) look(v, code.size());
    if (copies.empty()) return;
    for (auto& [v, copy] : copies) copy = add_val(val(v).dtype, val(v).shape);
    auto replace = [&](int& v) {
      if (auto at = copies.find(v); at != copies.end()) v = at->second;
    };
    std::vector<Instr> with_copies;
    for (std::size_t i = 0; i < code.size(); ++i) {
      for (auto& [v, copy] : copies)
        if (val(v).made_at == i) with_copies.push_back({&copy_op(), {v}, copy, 0, {}});
      for (int& v : code[i].in) replace(v);
      with_copies.push_back(std::move(code[i]));
    }
    for (auto& [v, leaf] : wanted) replace(v);
    code = std::move(with_copies);
  }

  void fold_constants() {
    for (Instr& c : code) {
      if (c.out < 0 || !val(c.out).node || !val(c.out).node->memory) continue;
      const bool all = std::all_of(c.in.begin(), c.in.end(),
                                   [&](int v) { return v < 0 || vals[static_cast<std::size_t>(base(v))].constant; });
      if (!all || c.in.empty()) continue;
      Node* n = val(c.out).node;
      Tensor value = handle(n);
      val(c.out).external = create(n->dtype, n->shape, 0, &value);  // cut from the tape
      val(c.out).constant = true;
      c.dead = true;
      ++program.stats_.folded;
    }
  }

  // Products read a matrix as it lies instead of its transpose, as long as no leaf was written in between.
  void fold_transposes() {
    struct Source {
      int v = -1, version = 0;
    };
    std::vector<Source> transposed(vals.size());
    std::vector<int> version(vals.size(), 0);
    const auto version_of = [&](int v) -> int& { return version[static_cast<std::size_t>(base(v))]; };
    for (Instr& c : code) {
      if (c.dead) continue;
      for (std::size_t k = 0; is_matmul(*c.op) && k < 2; ++k)
        for (int& v = c.in[k]; v >= 0; c.word = matmul_turning(c.word, k)) {
          const Source from = transposed[static_cast<std::size_t>(v)];
          if (from.v < 0 || version_of(from.v) != from.version) break;
          v = from.v;
        }
      if (c.op->turns) transposed[static_cast<std::size_t>(c.out)] = {c.in[0], version_of(c.in[0])};
      for (std::size_t k = 0; k < c.in.size(); ++k)
        if (c.op->writes_to(k) && c.in[k] >= 0) ++version_of(c.in[k]);
    }
  }

  // Equal operations on equal operands give equal results, as long as no leaf was written in between.
  void merge_equal() {
    std::vector<int> version(vals.size(), 0), same(vals.size());
    for (std::size_t v = 0; v < vals.size(); ++v) same[v] = static_cast<int>(v);
    std::map<std::vector<std::uint64_t>, int> known;
    std::map<std::vector<std::uint64_t>, int> aliases;
    auto resolve = [&](int v) {
      if (v < 0 || base(v) == v) return v < 0 ? v : same[static_cast<std::size_t>(v)];
      const int b = same[static_cast<std::size_t>(base(v))];
      std::vector<std::uint64_t> key{static_cast<std::uint64_t>(b)};
      for (index_t d : val(v).shape) key.push_back(static_cast<std::uint64_t>(d));
      val(v).base = b;
      return aliases.try_emplace(std::move(key), v).first->second;
    };
    for (Instr& c : code) {
      if (c.dead) continue;
      for (int& v : c.in) v = resolve(v);
      if (c.out < 0) {
        for (std::size_t k = 0; k < c.in.size(); ++k)
          if (c.op->writes_to(k) && c.in[k] >= 0) ++version[static_cast<std::size_t>(base(c.in[k]))];
        continue;
      }
      std::vector<std::uint64_t> key{reinterpret_cast<std::uintptr_t>(c.op), static_cast<std::uint64_t>(c.word)};
      for (int v : c.in) {
        key.push_back(static_cast<std::uint64_t>(v));
        key.push_back(v < 0 ? 0 : static_cast<std::uint64_t>(version[static_cast<std::size_t>(base(v))]));
      }
      key.push_back(static_cast<std::uint64_t>(val(c.out).dtype));
      for (index_t d : val(c.out).shape) key.push_back(static_cast<std::uint64_t>(d));
      if (const Attrs* a = c.attrs.get()) {
        if (typeid(*a) != typeid(Attrs)) continue;
        for (index_t x : a->list) key.push_back(static_cast<std::uint64_t>(x));
        key.push_back(~std::uint64_t{0});
        for (index_t x : a->list2) key.push_back(static_cast<std::uint64_t>(x));
      }
      auto [at, is_new] = known.try_emplace(std::move(key), c.out);
      if (is_new) continue;
      same[static_cast<std::size_t>(c.out)] = at->second;
      c.dead = true;
      ++program.stats_.merged;
    }
    for (auto& [v, leaf] : wanted) v = resolve(v);
    for (auto& [v, leaf] : program.grad_reads_) v = resolve(v);
  }

  void drop_dead() {
    std::vector<bool> live(vals.size(), false);
    for (auto& [v, leaf] : wanted) live[static_cast<std::size_t>(base(v))] = true;
    for (auto c = code.rbegin(); c != code.rend(); ++c) {
      if (c->dead) continue;
      if (c->out >= 0 && !live[static_cast<std::size_t>(c->out)]) {
        c->dead = true;
        ++program.stats_.dead;
        continue;
      }
      for (int v : c->in)
        if (v >= 0) live[static_cast<std::size_t>(base(v))] = true;
    }
    std::erase_if(code, [](const Instr& c) { return c.dead; });
  }

  // A bias and an activation become part of the matmul that feeds them; so does the pullback of an activation, or any
  // elementwise operation on the product and one array like it.
  void fold_epilogues() {
    std::vector<int> uses(vals.size(), 0);
    std::vector<std::size_t> user(vals.size(), 0), def(vals.size(), 0);
    for (std::size_t i = 0; i < code.size(); ++i) {
      for (int v : code[i].in)
        if (v >= 0) ++uses[static_cast<std::size_t>(base(v))], user[static_cast<std::size_t>(base(v))] = i;
      if (code[i].out >= 0) def[static_cast<std::size_t>(code[i].out)] = i + 1;
    }
    for (auto& [v, leaf] : wanted) uses[static_cast<std::size_t>(base(v))] += 2;
    for (std::size_t i = 0; i < code.size(); ++i) {
      Instr& mm = code[i];
      if (mm.dead || !is_matmul(*mm.op)) continue;
      auto only_user = [&]() -> Instr* {
        const auto z = static_cast<std::size_t>(mm.out);
        if (uses[z] != 1) return nullptr;
        Instr& u = code[user[z]];
        return u.out >= 0 && val(u.out).shape == val(mm.out).shape && u.dead == false ? &u : nullptr;
      };
      // The matmul may read v where `u` did: it is there already, and nothing writes to it in between.
      auto early = [&](int v, const Instr& u) {
        if (def[static_cast<std::size_t>(base(v))] > i) return false;
        for (const Instr* c = &mm; c != &u; ++c)
          for (std::size_t k = 0; k < c->in.size(); ++k)
            if (c->op->writes_to(k) && c->in[k] >= 0 && base(c->in[k]) == base(v)) return false;
        return true;
      };
      auto absorb = [&](Instr& u) {
        u.dead = true;
        mm.out = u.out;
        ++program.stats_.epilogues;
      };
      if (Instr* u = only_user(); u && is_add(*u->op)) {
        const int b = u->in[u->in[0] == mm.out ? 1 : 0], z = u->in[u->in[0] == mm.out ? 0 : 1];
        const Shape& s = val(b).shape;
        const index_t n = val(mm.out).shape.back(0);
        if (z == mm.out && b != z && val(mm.out).shape.ndim() == 2 && s.size() == n && s.ndim() >= 1 &&
            s.back(0) == n && early(b, *u)) {
          mm.bias = b;
          absorb(*u);
        }
      }
      if (Instr* u = only_user(); u && as_map(*u->op) && val(mm.out).shape.ndim() == 2) {
        int operand = -1, operand_at = 0, c_at = 0, others = 0;
        for (std::size_t k = 0; k < u->in.size(); ++k)
          if (u->in[k] == mm.out)
            c_at = static_cast<int>(k);
          else if (u->in[k] >= 0)
            operand = u->in[k], operand_at = static_cast<int>(k), ++others;
        const bool fits = others == 0 || (others == 1 && val(operand).shape == val(mm.out).shape && early(operand, *u));
        if (fits) {
          mm.activation = as_map(*u->op);
          mm.operand = operand, mm.operand_at = operand_at, mm.c_at = c_at;
          absorb(*u);
        }
      }
    }
    std::erase_if(code, [](const Instr& c) { return c.dead; });
  }

  // --- from code to steps --------------------------------------------------------------------------------------
  std::vector<std::pair<std::size_t, std::size_t>> groups;  // instructions [begin, end) of each step

  // How operand v of an elementwise instruction is laid over its result y, if a strip can read it: element by element,
  // as one number, as rows that repeat (v lacks leading axes), or as elements that repeat (v lacks trailing axes).
  std::optional<StepInput> laid_over(int v, const Val& y) {
    const Val& x = val(v);
    if (x.size() == y.size()) return StepInput{v, 1};
    if (x.size() == 1) return StepInput{v, 0};
    int i = 0;
    index_t same = 1, repeated = 1;
    const auto axis = [&](int k) { return k < x.shape.ndim() ? x.shape.back(k) : 1; };
    for (; i < y.shape.ndim() && axis(i) == 1; ++i) repeated *= y.shape.back(i);
    for (; i < y.shape.ndim() && axis(i) == y.shape.back(i); ++i) same *= y.shape.back(i);
    if (same != x.size()) return {};  // an axis in the middle
    if (repeated == 1) return StepInput{v, 1, same};
    if (same * repeated != y.size()) return {};
    return StepInput{v, 0, repeated};
  }

  // Elementwise, in a way that strips can do.
  bool is_map(const Instr& c) {
    if (c.out < 0 || !as_map(*c.op) || val(c.out).size() == 0) return false;
    const Val& y = val(c.out);
    return std::all_of(c.in.begin(), c.in.end(),
                       [&](int v) { return v < 0 || (val(v).dtype == y.dtype && laid_over(v, y)); });
  }

  // Of any two periods of a strip one divides the other.
  bool fits_periods(const Instr& c, std::vector<index_t>& periods) {
    std::vector<index_t> more;
    for (int v : c.in)
      if (const auto laid = v < 0 ? std::nullopt : laid_over(v, val(c.out)); laid && laid->period)
        more.push_back(laid->period);
    for (index_t a : more)
      for (index_t b : periods)
        if (a % b && b % a) return false;
    periods.insert(periods.end(), more.begin(), more.end());
    return true;
  }

  void group() {
    constexpr std::size_t longest = 64;
    for (std::size_t i = 0; i < code.size();) {
      std::size_t end = i + 1;
      if (is_map(code[i])) {
        const Val y = val(code[i].out);
        std::vector<index_t> periods;
        fits_periods(code[i], periods);
        while (end < code.size() && end - i < longest && is_map(code[end]) && val(code[end].out).size() == y.size() &&
               val(code[end].out).dtype == y.dtype && !reads_as_scalar(code[end], i, end) &&
               fits_periods(code[end], periods))
          ++end;
        if (end - i > 1) program.stats_.fused += static_cast<index_t>(end - i);
      }
      groups.emplace_back(i, end);
      i = end;
    }
  }
  // A strip cannot read the only element of an array that the strip itself computes, unless that is all there is.
  bool reads_as_scalar(const Instr& c, std::size_t begin, std::size_t end) {
    if (val(c.out).size() == 1) return false;
    for (int v : c.in)
      for (std::size_t j = begin; v >= 0 && j < end; ++j)
        if (code[j].out == base(v) && val(v).size() == 1) return true;
    return false;
  }

  void live_intervals() {
    for (std::size_t g = 0; g < groups.size(); ++g)
      for (std::size_t i = groups[g].first; i < groups[g].second; ++i) {
        const int step = static_cast<int>(g);
        for (int v : code[i].in)
          if (v >= 0) val(base(v)).last = step;
        for (int v : {code[i].bias, code[i].operand})
          if (v >= 0) val(base(v)).last = step;
        if (code[i].out >= 0) val(code[i].out).def = val(code[i].out).last = step;
      }
  }

  // Results and gradients get memory of their own; what is not computed here, or is wanted twice, is copied into it.
  void place_outputs() {
    for (auto& [v, leaf] : wanted) {
      const int b = base(v);
      int target = b;
      if (val(b).external || val(b).argument >= 0 || val(b).output >= 0) {
        target = add_val(val(v).dtype, val(v).shape);
        code.push_back({&copy_op(), {v}, target, 0, {}});
        groups.emplace_back(code.size() - 1, code.size());
        val(target).def = val(target).last = static_cast<int>(groups.size()) - 1;
        val(b).last = static_cast<int>(groups.size()) - 1;
      }
      val(target).output = static_cast<int>(program.outputs_.size());
      program.outputs_.push_back({-1, val(v).dtype, val(v).shape, leaf, {}, {}});
      if (!leaf) ++program.n_results_;
    }
  }

  // A kernel may write where it reads, element by element: a result of an elementwise step may take over the place of
  // an operand that the step reads last, if it has read each strip of it before it writes any. Exactly that place or
  // none: half over an operand, results would be written where others are still to be read.
  void reuse_in_place() {
    for (std::size_t v = 0; v < vals.size(); ++v)
      if (is_placed(static_cast<int>(v))) vals[v].place = static_cast<int>(v), vals[v].until = vals[v].last;
    for (std::size_t g = 0; g < groups.size(); ++g) {
      const std::size_t begin = groups[g].first, end = groups[g].second;
      if (!is_map(code[begin])) continue;
      const index_t n = val(code[begin].out).size();
      std::size_t first_write = begin;
      while (first_write < end && in_strip(code[first_write].out)) ++first_write;
      std::map<int, bool> read;  // operand -> may it be overwritten?
      for (std::size_t i = begin; i < end; ++i)
        for (int v : code[i].in)
          if (v >= 0) {
            const bool fits = i <= first_write && val(v).size() == n && val(v).dtype == val(code[begin].out).dtype;
            auto [at, is_new] = read.try_emplace(base(v), true);
            at->second = at->second && fits;
          }
      std::vector<int> free;
      for (auto [v, may] : read)
        if (may && is_placed(v) && val(v).def < static_cast<int>(g) && val(v).last == static_cast<int>(g))
          free.push_back(v);
      for (std::size_t i = begin; i < end && !free.empty(); ++i) {
        const int out = code[i].out;
        if (!is_placed(out)) continue;
        val(out).place = val(free.back()).place;
        val(val(out).place).until = val(out).last;
        free.pop_back();
        ++program.stats_.in_place;
      }
    }
  }

  // Whether a value gets its place in the arena.
  bool is_placed(int v) { return val(v).base == v && val(v).def >= 0 && val(v).output < 0 && !in_strip(v); }

  // A place in the arena for every other value: the largest first, each at the lowest offset that is free while it
  // lives.
  index_t place_in_arena() {
    std::vector<int> order;
    for (std::size_t v = 0; v < vals.size(); ++v)
      if (is_placed(static_cast<int>(v)) && vals[v].place == static_cast<int>(v)) order.push_back(static_cast<int>(v));
    std::sort(order.begin(), order.end(),
              [&](int a, int b) { return std::pair(-val(a).bytes(), a) < std::pair(-val(b).bytes(), b); });
    std::vector<int> placed;
    index_t total = 0;
    for (int v : order) {
      const index_t bytes = (val(v).bytes() + 63) / 64 * 64;
      std::vector<std::pair<index_t, index_t>> taken;
      for (int u : placed)
        if (val(u).def <= val(v).until && val(v).def <= val(u).until)
          taken.emplace_back(val(u).offset, val(u).offset + (val(u).bytes() + 63) / 64 * 64);
      std::sort(taken.begin(), taken.end());
      index_t at = 0;
      for (auto [begin, end] : taken) {
        if (at + bytes <= begin) break;
        at = std::max(at, end);
      }
      val(v).offset = at;
      total = std::max(total, at + bytes);
      placed.push_back(v);
    }
    for (Val& x : vals)
      if (x.place >= 0) x.offset = val(x.place).offset;
    return total;
  }

  // Used nowhere but in the strip that computes it.
  bool in_strip(int v) {
    const Val& x = val(v);
    if (x.def != x.last || x.output >= 0) return false;
    const auto [begin, end] = groups[static_cast<std::size_t>(x.def)];
    return end - begin > 1;
  }

  // It has memory to the end of a cache line.
  bool in_arena_or_strip(int v) { return val(v).offset >= 0 || in_strip(v); }

  int slot_of(int v) {
    if (v < 0) return -1;
    Val& b = val(base(v));
    if (b.slot < 0) {
      b.slot = static_cast<int>(program.slots_.size());
      program.slots_.push_back(nullptr);
    }
    return b.slot;
  }

  void make_steps() {
    for (std::size_t g = 0; g < groups.size(); ++g) {
      const std::size_t begin = groups[g].first, end = groups[g].second;
      std::unique_ptr<Step> step;
      if (is_map(code[begin]))
        step = dispatch(val(code[begin].out).dtype, [&]<class T>(T) { return make_map<T>(begin, end); });
      else if (const Instr& c = code[begin]; c.out >= 0 && is_matmul(*c.op) && val(c.out).shape.ndim() == 2)
        step = dispatch(val(c.out).dtype, [&]<class T>(T) { return make_matmul<T>(c); });
      else
        step = make_call(code[begin]);
      for (std::size_t i = begin; i < end; ++i) {
        for (int v : code[i].in)
          if (v >= 0 && !in_strip(base(v))) step->bytes += static_cast<double>(val(v).bytes());
        if (code[i].out >= 0 && !in_strip(code[i].out)) step->bytes += static_cast<double>(val(code[i].out).bytes());
        if (step->flops == 0 && code[i].out >= 0) step->flops += static_cast<double>(val(code[i].out).size());
      }
      program.work_ += step->flops * 2e-11 + step->bytes * 1e-10 + 2e-8;
      program.steps_.push_back(std::move(step));
    }
  }

  template <class T>
  std::unique_ptr<Step> make_map(std::size_t begin, std::size_t end) {
    // Temporaries by linear scan: one is free again after its last reader.
    std::map<int, std::size_t> last_reader;
    for (std::size_t i = begin; i < end; ++i)
      for (int v : code[i].in)
        if (v >= 0) last_reader[base(v)] = i;
    std::map<int, int> temporary;
    std::vector<int> free;
    int n_temporaries = 0;
    const index_t n = val(code[begin].out).size();
    std::vector<typename MapStep<T>::Item> items;
    for (std::size_t i = begin; i < end; ++i) {
      const Instr& c = code[i];
      typename MapStep<T>::Item item{c.op->name, kernels::table<T>().map[as_map(*c.op)->map], {}, 0};
      for (int v : c.in) {
        if (v < 0)
          item.in.push_back({no_slot, 1});
        else if (auto at = temporary.find(base(v)); at != temporary.end())
          item.in.push_back({~at->second, 1});
        else if (const auto laid = laid_over(v, val(c.out)))  // always, or it were not in a strip
          item.in.push_back({slot_of(v), laid->step, laid->period});
      }
      if (in_strip(c.out)) {
        if (free.empty()) free.push_back(n_temporaries++);
        temporary[c.out] = free.back();
        item.out = ~free.back();
        free.pop_back();
      } else {
        item.out = slot_of(c.out);
      }
      for (int v : c.in)
        if (v >= 0)
          if (auto at = temporary.find(base(v)); at != temporary.end() && last_reader[base(v)] == i) {
            if (std::find(free.begin(), free.end(), at->second) == free.end()) free.push_back(at->second);
          }
      item.padded = in_arena_or_strip(c.out) && std::all_of(c.in.begin(), c.in.end(), [&](int v) {
                      return v < 0 || val(v).size() != n || in_arena_or_strip(base(v));
                    });
      items.push_back(std::move(item));
    }
    return std::make_unique<MapStep<T>>(std::move(items), n, n_temporaries);
  }

  template <class T>
  std::unique_ptr<Step> make_matmul(const Instr& c) {
    const auto [trans_a, trans_b] = matmul_flags(c.word);
    const Shape &sa = val(c.in[0]).shape, &sb = val(c.in[1]).shape, &sc = val(c.out).shape;
    kernels::MatMul<T> mm{nullptr,    nullptr,    nullptr,   sc.back(1), sc.back(0), trans_a ? sa.back(1) : sa.back(0),
                          sa.back(0), sb.back(0), sc.back(0)};
    mm.trans_a = trans_a;
    mm.trans_b = trans_b;
    if (c.activation) mm.activation = kernels::table<T>().map[c.activation->map];
    mm.c_at = c.c_at;
    mm.operand_at = c.operand_at;
    auto step = std::make_unique<MatMulStep<T>>(mm, slot_of(c.in[0]), slot_of(c.in[1]), slot_of(c.out), slot_of(c.bias),
                                                c.activation ? c.activation->name : nullptr, slot_of(c.operand));
    step->flops = 2.0 * static_cast<double>(mm.m) * static_cast<double>(mm.n) * static_cast<double>(mm.k);
    return step;
  }

  std::unique_ptr<Step> make_call(const Instr& c) {
    std::vector<int> in;
    std::vector<Array> like;
    for (int v : c.in) {
      in.push_back(slot_of(v));
      like.push_back(v < 0 ? Array{nullptr, nullptr, DType::f64} : Array{nullptr, &val(v).shape, val(v).dtype});
    }
    const Shape none{0};
    return std::make_unique<CallStep>(*c.op, in, slot_of(c.out), Params{c.word, nullptr}, c.attrs, like,
                                      c.out < 0 ? none : val(c.out).shape, c.out < 0 ? DType::f64 : val(c.out).dtype);
  }

  void build() {
    read_tape();
    protect_aliases();
    fold_constants();
    fold_transposes();
    merge_equal();
    drop_dead();
    fold_epilogues();
    group();
    live_intervals();
    place_outputs();
    reuse_in_place();
    const index_t arena = place_in_arena();
    make_steps();
    finish(arena);
  }

  void finish(index_t arena) {
    program.stats_.arena_bytes = arena;
    program.stats_.steps = static_cast<index_t>(program.steps_.size());
    program.arena_ = Buffer::create(static_cast<std::size_t>(arena) + 64);
    auto* memory = static_cast<char*>(program.arena_->data());
    memory += -reinterpret_cast<std::intptr_t>(memory) & 63;
    std::vector<int> is_grad_read;
    for (auto& [v, leaf] : program.grad_reads_) {
      is_grad_read.push_back(base(v));
      v = val(base(v)).slot;
    }
    for (std::size_t v = 0; v < vals.size(); ++v) {
      Val& x = vals[v];
      if (x.base != static_cast<int>(v) || x.slot < 0) continue;
      if (x.external && std::find(is_grad_read.begin(), is_grad_read.end(), static_cast<int>(v)) == is_grad_read.end())
        program.externals_.emplace_back(x.slot, x.external);
      else if (x.argument >= 0)
        program.arguments_.emplace_back(x.slot, x.argument);
      else if (x.output >= 0)
        program.outputs_[static_cast<std::size_t>(x.output)].slot = x.slot;
      else if (x.offset >= 0)
        program.slots_[static_cast<std::size_t>(x.slot)] = memory + x.offset;
    }
    for (const Instr& c : code)
      for (std::size_t k = 0; k < c.in.size(); ++k)
        if (c.op->writes_to(k) && c.in[k] >= 0) {
          const Tensor& leaf = val(base(c.in[k])).external;
          if (leaf && std::none_of(program.written_.begin(), program.written_.end(),
                                   [&](auto& t) { return t.get() == leaf.get(); }))
            program.written_.push_back(leaf);
        }
  }
};

Program::Program(Tape& recording, std::span<const Tensor> arguments, std::span<const Tensor> results) {
  ProgramBuilder builder{*this, recording, arguments, results, {}, {}, {}, {}, {}};
  builder.build();
}

}  // namespace wengert::engine
