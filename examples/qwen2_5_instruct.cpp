// Rotates a Qwen2 or Qwen2-VL checkpoint, e.g. Qwen2.5-0.5B-Instruct: load, rotate, save.
//
//   qwen2_5_instruct MODEL OUT
//
// MODEL is a directory, or org/name in the local Hugging Face cache. OUT loads as MODEL does and computes the same.
#include <iostream>

#include "spinor/spinor.h"

int main(int argc, char** argv) try {
  if (argc != 3) {
    std::cerr << "usage: " << argv[0] << " MODEL OUT\n";
    return 2;
  }
  const spinor::Model model = spinor::Model::describe(spinor::Checkpoint::open(spinor::resolve_model(argv[1])));
  spinor::RewritePlan plan(model);
  spinor::rotate_model(model, plan, {.spin = {.transform_type = "random-hadamard", .seed = 1}});
  spinor::save(plan, argv[2]);
  std::cout << plan.describe();
} catch (const std::exception& error) {
  std::cerr << "error: " << error.what() << "\n";
  return 1;
}
