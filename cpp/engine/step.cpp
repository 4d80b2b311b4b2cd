#include "engine/step.h"

#include <algorithm>
#include <utility>

#include "kernels/threads.h"

namespace wengert::engine {
namespace {

template <class T>
constexpr index_t line = 64 / sizeof(T);
template <class T>
constexpr index_t strip = 4096 / sizeof(T);  // elements whose temporaries fit in L1 together
template <class T>
constexpr index_t room = strip<T> + line<T>;  // of a temporary
constexpr index_t parallel_grain = 65536;     // elements times operations worth a thread

// How an operand is broadcast.
std::string suffix(const StepInput& i) {
  if (!i.period) return i.step ? "" : "[0]";
  return (i.step ? "[i%" : "[i/") + std::to_string(i.period) + "]";
}
std::string slot_name(int slot) { return slot >= 0 ? "%" + std::to_string(slot) : "t" + std::to_string(~slot); }

}  // namespace

CallStep::CallStep(const Op& op, std::vector<int> in, int out, Params params, AttrsRef attrs, std::vector<Array> like,
                   Shape shape, DType dtype)
    : op_(op),
      in_(std::move(in)),
      out_(out),
      params_(params),
      attrs_(std::move(attrs)),
      shape_(std::move(shape)),
      dtype_(dtype) {
  params_.attrs = attrs_.get();
  calls_back = op.calls_back;
  for (const Array& a : like) shapes_.push_back(a.shape ? *a.shape : Shape{});
  for (std::size_t k = 0; k < like.size(); ++k) arrays_.push_back({nullptr, &shapes_[k], like[k].dtype});
}

void CallStep::run(void* const* slots) {
  for (std::size_t k = 0; k < in_.size(); ++k) arrays_[k].data = in_[k] < 0 ? nullptr : slots[in_[k]];
  op_.run(arrays_.data(), static_cast<int>(in_.size()), {out_ < 0 ? nullptr : slots[out_], &shape_, dtype_}, params_);
}

std::string CallStep::str() const {
  std::string s = out_ < 0 ? op_.name : slot_name(out_) + " = " + op_.name;
  s += "(";
  const auto period = static_cast<std::size_t>(op_.period);
  const std::size_t by = period < in_.size() ? period : 1;  // of an update of many: the parameters
  for (std::size_t k = 0; k < in_.size(); k += by) s += (k ? ", " : "") + (in_[k] < 0 ? "-" : slot_name(in_[k]));
  return s + ")" + (out_ < 0 ? "" : "  " + shape_.str());
}

template <class T>
MapStep<T>::MapStep(std::vector<Item> items, index_t n, int temporaries)
    : items_(std::move(items)), n_(n), temporaries_(temporaries) {
  for (const Item& item : items_)
    for (const StepInput& i : item.in)
      if (i.period > strip<T>)
        long_period_ = long_period_ ? std::min(long_period_, i.period) : i.period;
      else
        unit_ = std::max(unit_, i.period);
  strip_ = strip<T> / unit_ * unit_;
  for (Item& item : items_)
    for (StepInput& i : item.in) {
      if (i.period == 0) continue;
      if (i.period >= strip_) {
        if (i.step) item.padded = false;  // a row is read where it stands, and ends where it ends
        continue;
      }
      auto same = std::find_if(layouts_.begin(), layouts_.end(), [&](const Layout& l) {
        return l.from.slot == i.slot && l.from.step == i.step && l.from.period == i.period;
      });
      if (same == layouts_.end()) same = layouts_.insert(same, {i, temporaries_++});
      i = {~same->temporary, 1};
    }
}

// Repeated rows are the same in every strip, repeated elements are not.
template <class T>
void MapStep<T>::lay_out_rows(void* const* slots, T* temporaries, index_t n) const {
  for (const auto& [from, temporary] : layouts_)
    for (index_t i = 0; from.step && i < n; i += from.period)
      std::copy_n(static_cast<const T*>(slots[from.slot]), from.period, temporaries + temporary * room<T> + i);
}
template <class T>
void MapStep<T>::lay_out_columns(void* const* slots, T* temporaries, index_t at, index_t n) const {
  for (const auto& [from, temporary] : layouts_)
    for (index_t i = 0; !from.step && i < n; i += from.period)
      std::fill_n(temporaries + temporary * room<T> + i, from.period,
                  static_cast<const T*>(slots[from.slot])[(at + i) / from.period]);
}

template <class T>
void MapStep<T>::run_range(void* const* slots, index_t begin, index_t end) {
  const T* in[StepInputs::most];
  index_t step[StepInputs::most];
  alignas(64) T local[room<T>];  // most strips need one temporary
  static thread_local std::vector<T> spare;
  T* temporaries = local;
  if (temporaries_ > 1) {
    if (spare.size() < static_cast<std::size_t>(temporaries_ * room<T> + 64))
      spare.resize(static_cast<std::size_t>(temporaries_ * room<T> + 64));
    temporaries = spare.data() + (-reinterpret_cast<std::intptr_t>(spare.data()) & 63) / index_t{sizeof(T)};
  }
  const index_t most = temporaries_ || unit_ > 1 ? strip_ : end - begin;
  lay_out_rows(slots, temporaries, std::min(strip_, end - begin));
  for (index_t at = begin, n; at < end; at += n) {
    n = std::min(most, end - at);
    if (long_period_) n = std::min(n, long_period_ - at % long_period_);
    lay_out_columns(slots, temporaries, at, n);
    // At the end of the arrays, whole registers where there is memory for them.
    const index_t padded = at + n == n_ ? (n_ + line<T> - 1) / line<T> * line<T> - at : n;
    for (const Item& item : items_) {
      for (std::size_t k = 0; k < item.in.size(); ++k) {
        const auto [slot, by, period] = item.in[k];
        step[k] = by;
        const index_t from = !period ? at * by : by ? at % period : at / period;
        in[k] = slot == no_slot ? nullptr
                : slot >= 0     ? static_cast<const T*>(slots[slot]) + from
                                : temporaries + ~slot * room<T>;
      }
      T* out = item.out >= 0 ? static_cast<T*>(slots[item.out]) + at : temporaries + ~item.out * room<T>;
      item.map(in, step, out, item.padded ? padded : n);
    }
  }
}

template <class T>
void MapStep<T>::run(void* const* slots) {
  const index_t grain = std::max<index_t>(parallel_grain / static_cast<index_t>(items_.size()), parallel_grain / 4);
  if (n_ < 2 * grain) return run_range(slots, 0, n_);
  parallel_for(n_ / unit_, grain / unit_,
               [&](index_t begin, index_t end) { run_range(slots, begin * unit_, end * unit_); });
}

template <class T>
std::string MapStep<T>::str() const {
  std::string s;
  for (const Item& item : items_) {
    s += (s.empty() ? "" : "; ") + slot_name(item.out) + " = " + item.name + "(";
    bool first = true;
    for (const StepInput& i : item.in)
      if (i.slot != no_slot) s += (std::exchange(first, false) ? "" : ", ") + slot_name(i.slot) + suffix(i);
    s += ")";
  }
  return s + "  (" + std::to_string(n_) + ")";
}

template <class T>
void MatMulStep<T>::run(void* const* slots) {
  kernels::MatMul<T> mm = mm_;
  mm.a = static_cast<const T*>(slots[a_]);
  mm.b = static_cast<const T*>(slots[b_]);
  mm.c = static_cast<T*>(slots[c_]);
  if (bias_ >= 0) mm.bias = static_cast<const T*>(slots[bias_]);
  if (operand_ >= 0) mm.operand = static_cast<const T*>(slots[operand_]);
  matmul_parallel(mm);
}

template <class T>
std::string MatMulStep<T>::str() const {
  std::string s =
      slot_name(c_) + " = " + slot_name(a_) + (mm_.trans_a ? "' @ " : " @ ") + slot_name(b_) + (mm_.trans_b ? "'" : "");
  if (bias_ >= 0) s += " + " + slot_name(bias_);
  if (activation_) s += " then " + std::string(activation_);
  if (operand_ >= 0) s += "(" + slot_name(operand_) + ")";
  return s + "  (" + std::to_string(mm_.m) + " x " + std::to_string(mm_.k) + " x " + std::to_string(mm_.n) + ")";
}

template class MapStep<float>;
template class MapStep<double>;
template class MatMulStep<float>;
template class MatMulStep<double>;

}  // namespace wengert::engine
