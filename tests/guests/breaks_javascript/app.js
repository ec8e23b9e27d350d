// Fails in the way that its param `how` names: by using what a browser or Node.js has, but an
// action does not.
import { params } from "anacostia:pipeline/run-context@0.1.0";

const ways = {
  fetch: () => fetch("http://127.0.0.1/"),
  async: async () => ({ tag: "done" }),
};

export const action = { run: () => ways[JSON.parse(params()).how]() };
