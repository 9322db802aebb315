// Which programs can load what a plan would write, and what to do where one would load it wrongly.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "spinor/base/fields.h"
#include "spinor/plan/plan.h"

namespace spinor {

// transformers 5.23 with compressed-tensors 0.20, and vLLM as of 2026.
enum class Client { transformers, vllm };
std::span<const EnumName<Client>> enum_names(Client);
Client client_from(std::string_view name);  // Error listing the names

// One reason why a client does not compute what the plan means.
struct Incompatibility {
  Client client;
  std::string where;    // module or tensor, the first it applies to
  std::string problem;  // "drops R4 without a word"
  std::string instead;
};

// One for each client and rule that applies. None: the client loads the output and computes what it says.
std::vector<Incompatibility> incompatibilities(const RewritePlan& plan);

// Error for the first that concerns one of `clients`.
void require_compatible(const RewritePlan& plan, std::span<const Client> clients);

}  // namespace spinor
