// Which programs can load what a plan would write, and what to do where one would load it wrongly.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "spinor/base/fields.h"
#include "spinor/plan/plan.h"

namespace spinor {

// transformers 5.23 with compressed-tensors 0.20, vLLM 0.33, SGLang 0.5.23, and llama.cpp's convert_hf_to_gguf.py.
enum class Client { transformers, vllm, sglang, llama_cpp };
std::span<const EnumName<Client>> enum_names(Client);
Client client_from(std::string_view name);  // Error listing the names
inline constexpr Client kAllClients[] = {Client::transformers, Client::vllm, Client::sglang, Client::llama_cpp};
// Those for which compressed-tensors is made: warnings are of these where nobody says whom the output is for.
inline constexpr Client kUsualClients[] = {Client::transformers, Client::vllm};

// One reason why a client does not compute what the plan means.
struct Incompatibility {
  Client client;
  std::string where;    // module or tensor, the first it applies to
  std::string problem;  // "drops R4 without a word"
  std::string instead;
};

// One for each of these clients and rule that applies. None: the clients load the output and compute what it says.
std::vector<Incompatibility> incompatibilities(const RewritePlan& plan, std::span<const Client> clients);

// Error for the first.
void require_compatible(const RewritePlan& plan, std::span<const Client> clients);

}  // namespace spinor
