// What a Program runs: steps over a table of pointers (slots). Each kind is as close to its kernel as it can be.
#pragma once
#include <string>
#include <vector>

#include "kernels/table.h"
#include "ops/tensor.h"

namespace wengert::engine {

class Step {
 public:
  virtual ~Step() = default;
  virtual void run(void* const* slots) = 0;
  virtual std::string str() const = 0;
  double flops = 0, bytes = 0;  // of one run: multiplications and additions of products; memory touched at least once
};

constexpr int no_slot = -(1 << 30);  // an operand that the kernel does not read

struct StepInput {
  int slot;
  index_t step;  // 1, or 0 for a broadcast scalar
};

// Any op, through its own `run`.
class CallStep final : public Step {
 public:
  CallStep(const Op& op, std::vector<int> in, int out, Params params, AttrsRef attrs, std::vector<Array> like,
           Shape shape, DType dtype);
  void run(void* const* slots) override;
  std::string str() const override;

 private:
  const Op& op_;
  std::vector<int> in_;
  int out_;
  Params params_;
  AttrsRef attrs_;
  std::vector<Shape> shapes_;
  std::vector<Array> arrays_;
  Shape shape_;
  DType dtype_;
};

// Elementwise operations over arrays of one length (or scalars), strip by strip: a strip's temporaries stay in L1 and
// have no buffer.
template <class T>
class MapStep final : public Step {
 public:
  struct Item {
    const char* name;
    kernels::Map<T> map;
    std::vector<StepInput> in;  // a slot, or ~temporary
    int out;
  };
  MapStep(std::vector<Item> items, index_t n, int temporaries)
      : items_(std::move(items)), n_(n), temporaries_(temporaries) {}
  void run(void* const* slots) override;
  std::string str() const override;

 private:
  void run_range(void* const* slots, index_t begin, index_t end);
  std::vector<Item> items_;
  index_t n_;
  int temporaries_;
};

// One matrix product with its epilogue.
template <class T>
class MatMulStep final : public Step {
 public:
  MatMulStep(kernels::MatMul<T> mm, int a, int b, int c, int bias, const char* activation)
      : mm_(mm), a_(a), b_(b), c_(c), bias_(bias), activation_(activation) {}
  void run(void* const* slots) override;
  std::string str() const override;

 private:
  kernels::MatMul<T> mm_;
  int a_, b_, c_, bias_;
  const char* activation_;
};

}  // namespace wengert::engine
