// Breaks as its param `how` says: by what a browser or Node.js has, and an action has not.
import { params } from "anacostia:pipeline/run-context@0.1.0";

const ways = {
  fetch: () => fetch("http://127.0.0.1/"),
  async: async () => ({ tag: "done" }),
};

export const action = { run: () => ways[JSON.parse(params()).how]() };
