// All kernels of one instruction set and one float type. Compiled once for each, with that set's flags and with
// WENGERT_ISA and WENGERT_T defined; the object exports its table and nothing else. So no std headers here: an
// inline function compiled with AVX-512 flags could be the copy that the linker keeps for everyone.
#include "kernels/map.h"
#include "kernels/matmul.h"
#include "kernels/move.h"
#include "kernels/optimizer.h"
#include "kernels/reduce.h"
#include "kernels/rows.h"
#include "kernels/table.h"

#define WENGERT_JOIN2(A, B, C) A##B##_##C
#define WENGERT_JOIN(A, B, C) WENGERT_JOIN2(A, B, C)
#define WENGERT_QUOTE2(A) #A
#define WENGERT_QUOTE(A) WENGERT_QUOTE2(A)

namespace wengert::kernels {
using F = WENGERT_T;

extern const Table<F> WENGERT_JOIN(table_, WENGERT_ISA, WENGERT_T);
const Table<F> WENGERT_JOIN(table_, WENGERT_ISA, WENGERT_T) = {
    WENGERT_QUOTE(WENGERT_ISA),
    {
#define WENGERT_FORWARD(NAME) map<F, Forward<formula::NAME##_op>>
#define WENGERT_PULLBACK(NAME, K) map<F, Pullback<formula::NAME##_op, K>>
#define UNARY(NAME, ...) WENGERT_FORWARD(NAME), WENGERT_PULLBACK(NAME, 0),
#define BINARY(NAME, ...) WENGERT_FORWARD(NAME), WENGERT_PULLBACK(NAME, 0), WENGERT_PULLBACK(NAME, 1),
#define TERNARY(NAME, ...) \
  WENGERT_FORWARD(NAME), WENGERT_PULLBACK(NAME, 0), WENGERT_PULLBACK(NAME, 1), WENGERT_PULLBACK(NAME, 2),
#define PREDICATE(NAME, ...) WENGERT_FORWARD(NAME),
#include "ops/elementwise.def"
    },
    matmul<F>,
    sum<F>,
    norm<F>,
    max<F>,
    min<F>,
    logsumexp<F>,
    softmax<F>,
    log_softmax<F>,
    softmax_pullback<F>,
    log_softmax_pullback<F>,
    cross_entropy<F>,
    cross_entropy_pullback<F>,
    layer_norm<F>,
    layer_norm_pullback<F>,
    transpose<F>,
    gather<F>,
    scatter_add<F>,
    sgd<F>,
    adam<F>,
};

}  // namespace wengert::kernels
