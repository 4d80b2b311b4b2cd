// Chooses the kernel table at run time. Compiled without any ISA flag, so it runs everywhere.
#include "kernels/select.h"

#include <cstdlib>
#include <cstring>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/table.h"

namespace wengert::kernels {

// CMake defines WENGERT_HAS_* for the instruction sets of this build.
#define WENGERT_TABLES(ISA)                      \
  extern const Table<float> table_##ISA##_float; \
  extern const Table<double> table_##ISA##_double;
WENGERT_TABLES(neon)
WENGERT_TABLES(baseline)
WENGERT_TABLES(avx2)
WENGERT_TABLES(avx512)
#undef WENGERT_TABLES

namespace {

struct Isa {
  const char* name;
  bool runs;
  const Table<float>* f32;
  const Table<double>* f64;
};

std::span<const Isa> all_isas() {
  static const Isa list[] = {
#ifdef WENGERT_HAS_NEON
      {"neon", true, &table_neon_float, &table_neon_double},
#endif
#ifdef WENGERT_HAS_BASELINE
      {"baseline", true, &table_baseline_float, &table_baseline_double},
#endif
#ifdef WENGERT_HAS_AVX2
      {"avx2", __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"), &table_avx2_float, &table_avx2_double},
#endif
#ifdef WENGERT_HAS_AVX512
      {"avx512",
       __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma"),
       &table_avx512_float, &table_avx512_double},
#endif
  };
  return list;
}

const Isa* find(const char* name) {
  for (const Isa& isa : all_isas())
    if (std::strcmp(isa.name, name) == 0) return &isa;
  return nullptr;
}

const Isa& choose() {
  const char* wanted = std::getenv("WENGERT_ISA");
  if (!wanted || !*wanted) {
    const Isa* best = nullptr;
    for (const Isa& isa : all_isas())
      if (isa.runs) best = &isa;
    return *best;
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
  static const std::vector<const char*> names = [] {
    std::vector<const char*> list;
    for (const Isa& isa : all_isas())
      if (isa.runs) list.push_back(isa.name);
    list.push_back(nullptr);
    return list;
  }();
  return names.data();
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
