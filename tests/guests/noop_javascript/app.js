// Does nothing, so that a run measures the overhead of JavaScript.
export const action = { run: () => ({ tag: "done" }) };
