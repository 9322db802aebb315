#include "spinor/runtime/transform_gradient.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <utility>

#include "spinor/runtime/stage.h"

namespace spinor::runtime {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

at::Tensor product(const at::Tensor& x, const Rotation& r) {
  at::Tensor y = x.detach().clone(at::MemoryFormat::Contiguous);
  apply({{r}, {}}, y);
  return y;
}

// As a context keeps it.
struct KeptRotation : torch::CustomClassHolder {
  explicit KeptRotation(Rotation rotation) : r(std::move(rotation)) {}
  Rotation r;
};

// The linear map whose gradient is that of its transpose.
struct Transform : torch::autograd::Function<Transform> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const Rotation& r) {
    context->saved_data["r"] = c10::IValue::make_capsule(c10::make_intrusive<KeptRotation>(r));
    return product(x, r);
  }
  static tensor_list backward(AutogradContext* context, const tensor_list& gradients) {
    const auto kept = c10::static_intrusive_pointer_cast<KeptRotation>(context->saved_data["r"].toCapsule());
    return {product(gradients[0], kept->r.transposed()), at::Tensor()};
  }
};

}  // namespace

at::Tensor transformed(const at::Tensor& x, const Rotation& r) {
  return Transform::apply(x, r);
}

}  // namespace spinor::runtime
