#include "engine/step.h"

#include <algorithm>
#include <utility>

#include "kernels/threads.h"

namespace wengert::engine {
namespace {

constexpr index_t strip = 1024;            // elements whose temporaries fit in L1 together
constexpr index_t parallel_grain = 16384;  // elements worth a thread
constexpr int max_operands = 5;

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
  for (std::size_t k = 0; k < in_.size(); ++k) s += (k ? ", " : "") + (in_[k] < 0 ? "-" : slot_name(in_[k]));
  return s + ")" + (out_ < 0 ? "" : "  " + shape_.str());
}

template <class T>
void MapStep<T>::run_range(void* const* slots, index_t begin, index_t end) {
  const T* in[max_operands];
  index_t step[max_operands];
  T local[strip];  // most strips need one temporary
  static thread_local std::vector<T> spare;
  T* temporaries = local;
  if (temporaries_ > 1) {
    if (spare.size() < static_cast<std::size_t>(temporaries_ * strip))
      spare.resize(static_cast<std::size_t>(temporaries_ * strip));
    temporaries = spare.data();
  }
  const index_t length = temporaries_ ? strip : end - begin;
  for (index_t at = begin; at < end; at += length) {
    const index_t n = std::min(length, end - at);
    for (const Item& item : items_) {
      for (std::size_t k = 0; k < item.in.size(); ++k) {
        const auto [slot, by] = item.in[k];
        step[k] = by;
        in[k] = slot == no_slot ? nullptr
                : slot >= 0     ? static_cast<const T*>(slots[slot]) + at * by
                                : temporaries + ~slot * strip;
      }
      item.map(in, step, item.out >= 0 ? static_cast<T*>(slots[item.out]) + at : temporaries + ~item.out * strip, n);
    }
  }
}

template <class T>
void MapStep<T>::run(void* const* slots) {
  if (n_ < 2 * parallel_grain) return run_range(slots, 0, n_);
  parallel_for(n_, parallel_grain, [&](index_t begin, index_t end) { run_range(slots, begin, end); });
}

template <class T>
std::string MapStep<T>::str() const {
  std::string s;
  for (const Item& item : items_) {
    s += (s.empty() ? "" : "; ") + slot_name(item.out) + " = " + item.name + "(";
    bool first = true;
    for (const StepInput& i : item.in)
      if (i.slot != no_slot) s += (std::exchange(first, false) ? "" : ", ") + slot_name(i.slot) + (i.step ? "" : "[0]");
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
  matmul_parallel(mm);
}

template <class T>
std::string MatMulStep<T>::str() const {
  std::string s =
      slot_name(c_) + " = " + slot_name(a_) + (mm_.trans_a ? "' @ " : " @ ") + slot_name(b_) + (mm_.trans_b ? "'" : "");
  if (bias_ >= 0) s += " + " + slot_name(bias_);
  if (activation_) s += " then " + std::string(activation_);
  return s + "  (" + std::to_string(mm_.m) + " x " + std::to_string(mm_.k) + " x " + std::to_string(mm_.n) + ")";
}

template class MapStep<float>;
template class MapStep<double>;
template class MatMulStep<float>;
template class MatMulStep<double>;

}  // namespace wengert::engine
