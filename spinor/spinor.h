// The public API of spinor.
//
//   const spinor::Checkpoint source = spinor::Checkpoint::open("Llama-3.2-1B");
//   const spinor::Model model = spinor::Model::describe(source);
//   spinor::RewritePlan plan(model);
//   spinor::rotate_model(model, plan, {.spin = {.transform_type = "random-hadamard"}});
//   std::cout << plan.describe();
//   spinor::save(plan, "Llama-3.2-1B-spin", {.threads = 8});
//
// Everything throws spinor::Error, which says on what, what is wrong, and what to do.
#pragma once

#include "spinor/base/error.h"
#include "spinor/base/version.h"
#include "spinor/io/checkpoint.h"
#include "spinor/linalg/hadamard.h"
#include "spinor/linalg/orthogonal.h"
#include "spinor/linalg/rotation.h"
#include "spinor/model/hub.h"
#include "spinor/model/model.h"
#include "spinor/modifier/oneshot.h"
#include "spinor/modifier/recipe.h"
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
#include "spinor/transform/probe.h"
#include "spinor/transform/rotate_model.h"
#include "spinor/transform/spinquant.h"
