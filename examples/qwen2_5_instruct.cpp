// Rotates a Qwen2 or Qwen2-VL checkpoint, e.g. Qwen2.5-0.5B-Instruct: load, rotate, save.
//
//   qwen2_5_instruct MODEL OUT [ROTATIONS]
//
// MODEL is a directory, or org/name in the local Hugging Face cache. OUT loads as MODEL does and computes the same.
// ROTATIONS is a safetensors file of matrices of your own, in the place of random Hadamard matrices.
#include <iostream>

#include "spinor/spinor.h"

int main(int argc, char** argv) try {
  if (argc != 3 && argc != 4) {
    std::cerr << "usage: " << argv[0] << " MODEL OUT [ROTATIONS]\n";
    return 2;
  }
  const spinor::Model model = spinor::Model::open(argv[1]);
  spinor::RotateOptions options = {.spin = {.transform_type = "random-hadamard", .seed = 1}};
  if (argc == 4) options.spin.given = spinor::read_rotations(argv[3], model);

  spinor::RewritePlan plan = spinor::start_plan(model);
  spinor::rotate_model(model, plan, options);
  spinor::save(plan, argv[2]);
  std::cout << plan.text();
} catch (const std::exception& error) {
  std::cerr << "error: " << error.what() << "\n";
  return 1;
}
