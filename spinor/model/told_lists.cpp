#include "spinor/model/told_lists.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "spinor/base/error.h"
#include "spinor/model/checked_tensors.h"
#include "spinor/model/module_name.h"
#include "spinor/model/modules.h"

namespace spinor {
namespace {

// A number, or text.
Json value_of(const std::string& text) {
  return is_number(text) ? Json(std::stoll(text)) : Json(text);
}

class Teller {
 public:
  Teller(ModelConfig& config, const Architecture& row, const Checkpoint& checkpoint)
      : config_(config), row_(row), checkpoint_(checkpoint), tensors_(row, config, checkpoint) {}

  void tell(const ToldList& list) {
    Json& values = config_.keys[list.key] = Json::array();
    for (int64_t layer = 0; layer < *config_.num_layers; ++layer) {
      const std::string prefix = fmt::format("{}{}.{}.", root_of(row_, checkpoint_), row_.layers, layer);
      std::vector<std::string> fitting;
      values.push_back({});
      for (const std::string& value : list.values) {
        values.back() = value_of(value);
        if (fits(list.key, prefix, layer)) fitting.push_back(value);
      }
      if (fitting.size() != 1) fail(list, prefix.substr(0, prefix.size() - 1), fitting);
      values.back() = value_of(fitting.front());
    }
  }

 private:
  [[noreturn]] void fail(const ToldList& list, const std::string& layer,
                         const std::vector<std::string>& fitting) const {
    throw Error(config_.subject,
                fmt::format("has no {}, and the tensors of {} fit {}", list.key, layer,
                            fitting.empty() ? fmt::format("none of {}", fmt::join(list.values, ", "))
                                            : fmt::format("{}", fmt::join(fitting, " and "))),
                "add it, with a value for each layer, as save_pretrained of the model's class does");
  }

  // A name may have several lines in the row, of which one is meant.
  bool fits(const std::string& key, const std::string& prefix, int64_t layer) const {
    std::map<std::string, bool> wanted;
    bool shaped = true;
    const auto look = [&](const auto& rows, const auto& check) {
      for (const auto& one : rows) {
        if (!mentions(one.when, key)) continue;
        const std::string name = name_in_layer(prefix, numbered(one.name, 0));
        const bool here = is_so(one.when, config_, true, layer);
        wanted[name] |= here;
        if (here && tensors_.is_there(name)) shaped &= is_right([&] { check(name, one); });
      }
    };
    look(row_.linears, [&](const std::string& name, const LinearRow& one) {
      tensors_.weight(checkpoint_.find(name) ? name : name + ".weight", one, layer);
    });
    look(row_.norms,
         [&](const std::string& name, const NormRow& one) { tensors_.shaped(name + ".weight", {one.size}, layer); });
    look(row_.parameters,
         [&](const std::string& name, const ParameterRow& one) { tensors_.shaped(name, one.shape, layer); });
    return shaped &&
           std::ranges::all_of(wanted, [&](const auto& one) { return tensors_.is_there(one.first) == one.second; });
  }

  static bool is_right(const std::function<void()>& check) {
    try {
      check();
      return true;
    } catch (const Error&) {
      return false;
    }
  }

  ModelConfig& config_;
  const Architecture& row_;
  const Checkpoint& checkpoint_;
  CheckedTensors tensors_;
};

}  // namespace

void add_told_lists(ModelConfig& config, const Architecture& row, const Checkpoint& checkpoint) {
  for (const ToldList& list : row.told_lists) {
    const auto found = config.keys.find(list.key);
    if (found == config.keys.end() || found->is_null()) Teller(config, row, checkpoint).tell(list);
  }
}

}  // namespace spinor
