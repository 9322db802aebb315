// Rotates and quantizes the checkpoint argv[1] into argv[2], with the installed library.
#include <spinor/spinor.h>

#include <iostream>

int main(int argc, char** argv) try {
  if (argc == 1) {  // without a checkpoint: the kernels alone
    spinor::Matrix<float> x(2, 576);
    x(0, 0) = 1;
    spinor::hadamard_rows(x.view());
    spinor::hadamard_rows(x.view());
    std::cout << "spinor " << spinor::kVersion << "\n";
    return 0;
  }
  spinor::Recipe recipe;
  recipe.add<spinor::SpinQuantModifier>({.transform_type = "auto"});
  recipe.add<spinor::QuantizationModifier>({.ignore = {"lm_head"}, .scheme = "W8A8"});
  spinor::Job job(spinor::Model::open(argv[1]), std::move(recipe));
  job.save(argv[2]);
} catch (const std::exception& error) {
  std::cerr << "error: " << error.what() << "\n";
  return 1;
}
