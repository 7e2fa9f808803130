// The models of the service, asked for once.
import { getJson } from "./api.js";

let models = null;

// The model of this name, or the default one.
export async function modelNamed(name) {
  models ??= getJson("models").catch((error) => { models = null; throw error; });
  return (await models).items.find((model) => (name ? model.name === name : model.default));
}
