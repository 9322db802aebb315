// The public API of spinor.
//
//   spinor::Recipe recipe;
//   recipe.add<spinor::SpinQuantModifier>({.transform_type = "auto"});
//   recipe.add<spinor::QuantizationModifier>({.ignore = {"lm_head"}, .scheme = "W4A16"});
//   spinor::Job job(spinor::Model::open("Llama-3.2-1B"), std::move(recipe));
//   job.save("Llama-3.2-1B-w4a16");
//
// A recipe may also be read: Recipe::load("recipe.yaml"). What a program can add, each before it is used:
//
//   register_architecture(...)                         a family of models (or a row of YAML: read_architecture)
//   register_modifier_type(...)                        a step of recipes
//   register_transform_type(...)                       a kind of rotation
//   RotateOperationRegistry::register_operation(...)   what rotates a class of models
//   NormLinearIterator::register_iterator(...)         which linears read through which norm
//   AutoOperation::register_operation(...)             what rotates a class of modules
//
// Everything throws spinor::Error, which says on what, what is wrong, and what to do.
#pragma once

#include "spinor/base/error.h"
#include "spinor/base/version.h"
#include "spinor/family/architecture_file.h"
#include "spinor/family/forward_row.h"
#include "spinor/io/checkpoint.h"
#include "spinor/job/job.h"
#include "spinor/lifecycle/once_modifier.h"
#include "spinor/linalg/hadamard.h"
#include "spinor/linalg/orthogonal.h"
#include "spinor/linalg/rotation.h"
#include "spinor/model/hub.h"
#include "spinor/model/model.h"
#include "spinor/modifier/gptq_modifier.h"
#include "spinor/modifier/modifier_types.h"
#include "spinor/modifier/oneshot.h"
#include "spinor/modifier/quantization_modifier.h"
#include "spinor/modifier/quip_modifier.h"
#include "spinor/modifier/recipe.h"
#include "spinor/modifier/spinquant_modifier.h"
#include "spinor/plan/plan.h"
#include "spinor/plan/save.h"
#include "spinor/plan/statistics.h"
#include "spinor/tokenizer/tokenizer.h"
#include "spinor/transform/apply.h"
#include "spinor/transform/auto_operation.h"
#include "spinor/transform/factory.h"
#include "spinor/transform/fold.h"
#include "spinor/transform/given_rotations.h"
#include "spinor/transform/norm_linear_iterator.h"
#include "spinor/transform/rotate_model.h"
#include "spinor/transform/scale_formulas.h"
#include "spinor/transform/spinquant.h"
#include "spinor/transform/stored_online.h"
#include "spinor/verify/verify.h"
