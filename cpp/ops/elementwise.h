// Turns the page of derivatives (elementwise.def) into types: one struct per op, whose f and d<k> are generic in
// the value type. They are instantiated at SIMD lanes (kernels), at tape variables (engine) and, here, at `Reads`,
// a set that tells at compile time which operands a formula mentions.
#pragma once

namespace wengert::formula {

// The set of operands a formula reads, as bits: operand k is bit k, then y, then g.
struct Reads {
  unsigned bits = 0;
  constexpr Reads(unsigned b) : bits(b) {}
  constexpr Reads(double) {}
};
constexpr Reads operator|(Reads a, Reads b) { return a.bits | b.bits; }
constexpr Reads operator&(Reads a, Reads b) { return a.bits | b.bits; }
constexpr Reads operator-(Reads a) { return a; }
#define WENGERT_READS(OP) \
  constexpr Reads operator OP(Reads a, Reads b) { return a.bits | b.bits; }
WENGERT_READS(+)
WENGERT_READS(-)
WENGERT_READS(*)
WENGERT_READS(/)
WENGERT_READS(<)
WENGERT_READS(<=)
WENGERT_READS(>)
WENGERT_READS(>=)
WENGERT_READS(==)
WENGERT_READS(!=)
#undef WENGERT_READS
#define UNARY(NAME, DOC, DOMAIN, F, DX) \
  constexpr Reads NAME(Reads x) { return x; }
#define BINARY(NAME, DOC, DOMAIN, F, DA, DB) \
  constexpr Reads NAME(Reads a, Reads b) { return a.bits | b.bits; }
#define TERNARY(NAME, DOC, DOMAIN, F, DA, DB, DC) \
  constexpr Reads NAME(Reads a, Reads b, Reads c) { return a.bits | b.bits | c.bits; }
#define PREDICATE(NAME, DOC, DOMAIN, F) \
  constexpr Reads NAME(Reads a, Reads b) { return a.bits | b.bits; }
#include "ops/elementwise.def"

// d(k, operands..., y, g) is the pullback of g to operand k.
#define UNARY(NAME, DOC, DOMAIN, F, DX)                                                      \
  struct NAME##_op {                                                                         \
    static constexpr int arity = 1;                                                          \
    template <class V>                                                                       \
    static constexpr V f(V x) {                                                              \
      return F;                                                                              \
    }                                                                                        \
    template <int k, class V>                                                                \
    static constexpr V d([[maybe_unused]] V x, [[maybe_unused]] V y, [[maybe_unused]] V g) { \
      return DX;                                                                             \
    }                                                                                        \
  };
#define BINARY(NAME, DOC, DOMAIN, F, DA, DB)                                                                       \
  struct NAME##_op {                                                                                               \
    static constexpr int arity = 2;                                                                                \
    template <class V>                                                                                             \
    static constexpr V f(V a, V b) {                                                                               \
      return F;                                                                                                    \
    }                                                                                                              \
    template <int k, class V>                                                                                      \
    static constexpr V d([[maybe_unused]] V a, [[maybe_unused]] V b, [[maybe_unused]] V y, [[maybe_unused]] V g) { \
      if constexpr (k == 0)                                                                                        \
        return DA;                                                                                                 \
      else                                                                                                         \
        return DB;                                                                                                 \
    }                                                                                                              \
  };
#define TERNARY(NAME, DOC, DOMAIN, F, DA, DB, DC)                                                                \
  struct NAME##_op {                                                                                             \
    static constexpr int arity = 3;                                                                              \
    template <class V>                                                                                           \
    static constexpr V f(V a, V b, V c) {                                                                        \
      return F;                                                                                                  \
    }                                                                                                            \
    template <int k, class V>                                                                                    \
    static constexpr V d([[maybe_unused]] V a, [[maybe_unused]] V b, [[maybe_unused]] V c, [[maybe_unused]] V y, \
                         [[maybe_unused]] V g) {                                                                 \
      if constexpr (k == 0)                                                                                      \
        return DA;                                                                                               \
      else if constexpr (k == 1)                                                                                 \
        return DB;                                                                                               \
      else                                                                                                       \
        return DC;                                                                                               \
    }                                                                                                            \
  };
#define PREDICATE(NAME, DOC, DOMAIN, F) \
  struct NAME##_op {                    \
    static constexpr int arity = 2;     \
    template <class V>                  \
    static constexpr V f(V a, V b) {    \
      return F;                         \
    }                                   \
  };
#include "ops/elementwise.def"

// What the pullback of `Op` to operand k reads.
template <class Op, int k>
constexpr unsigned reads() {
  if constexpr (Op::arity == 1)
    return Op::template d<k>(Reads(1u), Reads(2u), Reads(4u)).bits;
  else if constexpr (Op::arity == 2)
    return Op::template d<k>(Reads(1u), Reads(2u), Reads(4u), Reads(8u)).bits;
  else
    return Op::template d<k>(Reads(1u), Reads(2u), Reads(4u), Reads(8u), Reads(16u)).bits;
}

}  // namespace wengert::formula
