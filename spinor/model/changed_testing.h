// For tests of what rows may say: the tiny Llama with a row of its own, which is Llama's but for a change.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "spinor/family/architecture.h"
#include "spinor/model/model.h"
#include "spinor/model/testing.h"

namespace spinor::testing {

struct Changed {
  ArchitectureCase model;

  // `name`: of its class. `of`: the case of the Llama.
  Changed(const std::string& name, const std::string& of, const std::function<void(Architecture&)>& change)
      : model(read_architecture_case("llama", of)) {
    Architecture row = *find_architecture("LlamaForCausalLM");
    row.names = {name};
    row.forward.reset();
    change(row);
    if (!find_architecture(name)) register_architecture(row, name);
    model.config["architectures"] = {name};
  }

  int64_t size(const char* key) const { return model.config[key]; }
  void add(const std::string& tensor, const std::vector<int64_t>& shape) {
    model.tensors.push_back({.name = tensor, .dtype = DType::BF16, .shape = shape});
  }
  Model describe() const {
    const TemporaryDirectory directory;
    return Model::describe(write_checkpoint(directory.path(), model));
  }
  std::string error() const {
    return message_of([&] { describe(); });
  }
};

}  // namespace spinor::testing
