// Small helpers for Anacostia actions and trigger components in TypeScript.
//
// The module is optional: the functions of the host are in `anacostia:pipeline/…`, and the WIT
// documents them. The helpers exist because data is passed in chunks, while most actions need
// lines, or the whole content of a small file.

import type { Decision } from "anacostia:pipeline/decider@0.1.0";
import { type Level, log } from "anacostia:pipeline/log@0.1.0";
import { logMetrics as logAll } from "anacostia:pipeline/metadata@0.1.0";
import { type Artifact, create, open } from "anacostia:pipeline/resources@0.1.0";
import { params as paramsAsText } from "anacostia:pipeline/run-context@0.1.0";
import type { Error as HostError, Outcome } from "anacostia:pipeline/types@0.1.0";

/** How much one call transfers: large enough that the overhead of the call is negligible. At most 8 MiB. */
export const CHUNK_BYTES = 1 << 20;

/** The object that an action exports: `export const action: Action = { run() { … } }`. */
export interface Action {
  run(): Outcome;
}

/** The object that a trigger component exports: `export const decider: Decider = { decide() { … } }`. */
export interface Decider {
  decide(): Decision;
}

/** Returns the outcome of completed work. The host displays the text beside the action. */
export const done = (text?: string): Outcome => ({ tag: "done", val: text });

/** Returns the outcome of an action that had nothing worth doing: the actions after it are skipped. */
export const skip = (reason: string): Outcome => ({ tag: "skip", val: reason });

/** The error to throw when the guest cannot do its work. With `retryable`, the host may try again. */
export class ActionError extends Error {
  readonly payload: HostError;

  constructor(message: string, { code = "failed", retryable = false }: Partial<HostError> = {}) {
    super(message);
    this.payload = { code, message, retryable };
  }
}

/** Returns the params of this action in this run, or of this trigger component. The guest chooses their type `T`; it is not checked. */
export const params = <T>(): Partial<T> => JSON.parse(paramsAsText());

type Fields = Record<string, unknown>;

/** Logs details that help to find a fault. */
export const debug = (message: string, fields: Fields = {}): void => line("debug", message, fields);

/** Logs what is going on. */
export const info = (message: string, fields: Fields = {}): void => line("info", message, fields);

/** Logs something unexpected that does not stop the work. */
export const warn = (message: string, fields: Fields = {}): void => line("warn", message, fields);

function line(level: Level, message: string, fields: Fields): void {
  log(
    level,
    message,
    Object.entries(fields).map(([name, value]) => [name, String(value)]),
  );
}

/** Records metrics: `logMetrics({ accuracy: 0.9, loss: 0.1 })`. */
export function logMetrics(values: Record<string, number>, step?: bigint): void {
  logAll(Object.entries(values).map(([name, value]) => ({ name, value, step })));
}

/** Yields the content of an artifact, in chunks. */
export function* chunks(artifact: Artifact): Generator<Uint8Array, void> {
  const reader = open(artifact.id);
  for (let offset = 0n; ; ) {
    const chunk = reader.read(offset, CHUNK_BYTES);
    if (chunk.length === 0) return;
    yield chunk;
    offset += BigInt(chunk.length);
  }
}

/** Yields the lines of an artifact, without line endings. The artifact may be larger than memory; a line may not. */
export function* lines(artifact: Artifact): Generator<string, void> {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let rest = "";
  for (const chunk of chunks(artifact)) {
    const whole = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = whole.pop() ?? "";
    for (const line of whole) yield withoutReturn(line);
  }
  rest += decoder.decode();
  if (rest) yield withoutReturn(rest);
}

const withoutReturn = (line: string): string => (line.endsWith("\r") ? line.slice(0, -1) : line);

/** Writes an artifact whose text is in memory. If the path exists, the artifact becomes its next version. */
export const writeAll = (resource: string, path: string, text: string): Artifact => writeTexts(resource, path, [text]);

/** Writes an artifact piece by piece, such as line by line. If the path exists, the artifact becomes its next version. */
export function writeTexts(resource: string, path: string, texts: Iterable<string>): Artifact {
  const writer = create(resource, path, { overwrite: true });
  const encoder = new TextEncoder();
  let gathered = "";
  const write = () => {
    const bytes = encoder.encode(gathered);
    for (let at = 0; at < bytes.length; at += CHUNK_BYTES) writer.write(bytes.subarray(at, at + CHUNK_BYTES));
    gathered = "";
  };
  for (const text of texts) {
    gathered += text;
    if (gathered.length >= CHUNK_BYTES) write();
  }
  write();
  return writer.finish();
}
