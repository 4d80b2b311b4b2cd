// The intermediate form itself, and how it is written as text.
#include "engine/plan/code.h"

#include <algorithm>

#include "ops/functions.h"

namespace wengert::engine::plan {

int Code::add_value(const Val& v) {
  values.push_back(v);
  const int id = static_cast<int>(values.size()) - 1;
  if (v.base < 0) values.back().base = id;
  return id;
}

Instr Code::copy_of(int v) {
  Val y = (*this)[v];
  y.node = nullptr, y.base = -1, y.argument = y.output = -1, y.origin = Origin::computed;
  const int first = static_cast<int>(operands.size());
  operands.push_back(v);
  return {&copy_op(), nullptr, 0, first, 1, add_value(y)};
}

void Code::erase_dead() {
  std::erase_if(instrs, [](const Instr& c) { return c.dead; });
}

namespace {

std::string type_of(const Val& v) { return std::string(name_of(v.dtype)) + v.shape->str(); }

std::string name_of_value(const Code& code, int v) {
  if (v < 0) return "-";
  const Val& x = code[v];
  if (x.base != v) return name_of_value(code, x.base) + " as " + x.shape->str();
  const std::string number = std::to_string(v);
  if (x.origin == Origin::argument) return "argument" + std::to_string(x.argument);
  return (x.origin == Origin::leaf       ? "leaf"
          : x.origin == Origin::local    ? "local"
          : x.origin == Origin::constant ? "constant"
                                         : "%") +
         number;
}

}  // namespace

std::string Code::str(const Instr& c) const {
  std::string s = c.out < 0 ? "" : name_of_value(*this, c.out) + " = ";
  s += std::string(c.op->name) + "(";
  for (int k = 0; k < c.n; ++k) s += (k ? ", " : "") + name_of_value(*this, in(c)[static_cast<std::size_t>(k)]);
  s += ")";
  if (c.epilogue >= 0) {
    const Epilogue& e = epilogues[static_cast<std::size_t>(c.epilogue)];
    if (e.bias >= 0) s += " + " + name_of_value(*this, e.bias);
    if (e.activation) s += " then " + std::string(e.activation->name);
    if (e.operand >= 0) s += "(" + name_of_value(*this, e.operand) + ")";
  }
  return s + (c.out < 0 ? "" : "  " + type_of((*this)[c.out]));
}

std::string Code::str() const {
  std::string s;
  for (const Instr& c : instrs) s += str(c) + (c.dead ? "  (dead)\n" : "\n");
  for (const auto& [v, leaf] : wanted) s += (leaf ? "gradient " : "return ") + name_of_value(*this, v) + "\n";
  return s;
}

}  // namespace wengert::engine::plan
