// Rotates the checkpoint argv[1] into argv[2] and checks the result, with the installed library.
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
  const spinor::Checkpoint source = spinor::Checkpoint::open(argv[1]);
  const spinor::Model model = spinor::Model::describe(source);
  spinor::RewritePlan plan(model);
  plan.untie();
  spinor::fold_norms(model, plan);
  spinor::apply(spinor::spinquant(model, {.transform_type = "random-hadamard"}), model, plan);
  spinor::save(plan, argv[2], {.threads = 2});
  const spinor::Model rotated = spinor::Model::describe(spinor::Checkpoint::open(argv[2]));
  return spinor::probe(model, rotated).passed() ? 0 : 1;
} catch (const std::exception& error) {
  std::cerr << "error: " << error.what() << "\n";
  return 1;
}
