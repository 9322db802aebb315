#include "spinor/runtime/generate.h"

#include <ATen/ATen.h>

#include "spinor/base/error.h"
#include "spinor/runtime/answer.h"
#include "spinor/runtime/decoder.h"

namespace spinor::runtime {

std::vector<int32_t> generate(const RewritePlan& plan, std::span<const int32_t> prompt, const GenerateOptions& options,
                              const RuntimeOptions& runtime, const TokenVisitor& visit) {
  if (prompt.empty()) throw Error("prompt", "is empty", "give some text, or --bos");
  check_tokens(plan.model(), at::tensor(at::ArrayRef<int32_t>(prompt.data(), prompt.size()), at::kInt));
  const Request request{.context = {prompt.begin(), prompt.end()}, .generate = options};
  AnswerOptions how;
  if (visit) how.visit = [&](size_t, int32_t token) { return visit(token); };
  return answer(plan, std::span(&request, 1), how, runtime).front().tokens;
}

}  // namespace spinor::runtime
