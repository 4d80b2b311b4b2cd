// Chooses the kernel table at run time. Compiled without any ISA flag, so it runs everywhere.
#include "kernels/select.h"

#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>

#include "kernels/table.h"

namespace wengert::kernels {

#define WENGERT_TABLES(ISA)                      \
  extern const Table<float> table_##ISA##_float; \
  extern const Table<double> table_##ISA##_double;
#if defined(__aarch64__)
WENGERT_TABLES(neon)
#else
WENGERT_TABLES(baseline)
WENGERT_TABLES(avx2)
WENGERT_TABLES(avx512)
#endif
#undef WENGERT_TABLES

namespace {

struct Isa {
  const char* name;
  bool runs;
  const Table<float>* f32;
  const Table<double>* f64;
};

#if defined(__aarch64__)
constexpr int n_isas = 1;
const Isa* all_isas() {
  static const Isa list[n_isas] = {{"neon", true, &table_neon_float, &table_neon_double}};
  return list;
}
#else
constexpr int n_isas = 3;
const Isa* all_isas() {
  static const Isa list[n_isas] = {
      {"baseline", true, &table_baseline_float, &table_baseline_double},
      {"avx2", __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"), &table_avx2_float, &table_avx2_double},
      {"avx512",
       __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma"),
       &table_avx512_float, &table_avx512_double},
  };
  return list;
}
#endif

const Isa* find(const char* name) {
  const Isa* list = all_isas();
  for (int i = 0; i < n_isas; ++i)
    if (std::strcmp(list[i].name, name) == 0) return &list[i];
  return nullptr;
}

const Isa& choose() {
  const char* wanted = std::getenv("WENGERT_ISA");
  if (!wanted || !*wanted) {
    const Isa* list = all_isas();
    int best = 0;
    for (int i = 0; i < n_isas; ++i)
      if (list[i].runs) best = i;
    return list[best];
  }
  const Isa* isa = find(wanted);
  if (isa && isa->runs) return *isa;
  std::string message = "WENGERT_ISA=" + std::string(wanted) +
                        (isa ? ": this CPU lacks that instruction set" : ": no such instruction set in this build") +
                        "; it runs";
  for (const char* const* name = isas(); *name; ++name) message += std::string(" ") + *name;
  throw std::runtime_error(message);
}

const Isa& chosen() {
  static const Isa& isa = choose();
  return isa;
}

}  // namespace

void check_isa() { chosen(); }

const char* const* isas() {
  struct Names {
    const char* list[n_isas + 1] = {};
    Names() {
      int n = 0;
      for (int i = 0; i < n_isas; ++i)
        if (all_isas()[i].runs) list[n++] = all_isas()[i].name;
    }
  };
  static const Names names;
  return names.list;
}

template <>
const Table<float>& table<float>() {
  return *chosen().f32;
}
template <>
const Table<double>& table<double>() {
  return *chosen().f64;
}
template <>
const Table<float>* table<float>(const char* name) {
  const Isa* isa = find(name);
  return isa && isa->runs ? isa->f32 : nullptr;
}
template <>
const Table<double>* table<double>(const char* name) {
  const Isa* isa = find(name);
  return isa && isa->runs ? isa->f64 : nullptr;
}

}  // namespace wengert::kernels
