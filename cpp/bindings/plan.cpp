// The planner's passes, one by one, for tests and for people who want to see what they do.
#include "engine/plan/plan.h"

#include <pybind11/stl.h>

#include "bindings/bindings.h"
#include "engine/program.h"

namespace wengert::bindings {

void bind_plan(py::module_& m) {
  // Records function(*arguments) and gives the code after these passes, as text.
  m.def("plan_text",
        [](const py::function& function, const std::vector<Tensor>& arguments, const std::vector<std::string>& passes) {
          engine::Recording recording;
          std::vector<Tensor> stand_ins, results;
          py::tuple replaced(arguments.size());
          for (std::size_t i = 0; i < arguments.size(); ++i) {
            stand_ins.push_back(engine::argument_node(arguments[i]));
            replaced[i] = stand_ins.back();
          }
          py::object out = function(*replaced);
          if (py::isinstance<py::tuple>(out))
            results = out.cast<std::vector<Tensor>>();
          else if (!out.is_none())
            results.push_back(out.cast<Tensor>());
          out = {};
          return recording.text(stand_ins, results, passes);
        });
  // Whether every plan is checked: no two live values overlap. For tests; costs time.
  m.def("verify_plans", [](bool on) { engine::plan::verify_plans = on; });
}

}  // namespace wengert::bindings
