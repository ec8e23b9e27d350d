// The screens. A new one is one line: its name, and for each state of a pipeline in which it is
// looked at, its address and texts that are seen on it; and the status of the answer if it is not
// 200. screens.mjs checks them in the states `empty`, `full`, `runs`, `large` and `token`: `runs`
// has the pages of the runs of the pipeline that is `full`. scripts/screenshots takes pictures in
// the states `penguins` and `guarded`, which has a token.
export const SCREENS = [
  ['pipeline', {
    empty: ['/', 'No runs yet.'],
    full: ['/', 'awaiting approval', 'failed', 'cancelled', 'running', 'bill_length_mm'],
    large: ['/', 'measurements-of-station-99', 'No runs yet.'],
    penguins: ['/'],
  }],
  ['runs', { empty: ['/runs'], full: ['/runs', 'failed', 'cancelled', 'running'], penguins: ['/runs'] }],
  ['run', { runs: ['/runs/1', 'succeeded', 'train'], penguins: ['/runs/1'] }],
  ['run-failed', { runs: ['/runs/2', 'bill_length_mm', 'Retry', 'skipped:'], penguins: ['/runs/30', 'Retry'] }],
  ['run-cancelled', { runs: ['/runs/3', 'It was cancelled', 'not reached: the run was cancelled'] }],
  ['run-waiting', { runs: ['/runs/4', 'awaiting approval', 'Attempt 2', 'Approve'] }],
  ['run-running', { runs: ['/runs/5', 'running', 'epoch 4 of 10', 'Cancel'] }],
  ['run-graph', { runs: ['/runs/4/graph', 'awaiting approval', 'Each node leads to'], penguins: ['/runs/29/graph'] }],
  ['run-failed-log', { runs: ['/runs/2/logs', 'reads the rows', 'failed'] }],
  ['run-logs', { runs: ['/runs/4/logs', 'one line of many'], penguins: ['/runs/30/logs'] }],
  ['run-events', { runs: ['/runs/4/events', 'Events'], penguins: ['/runs/29/events'] }],
  ['run-artifacts', { runs: ['/runs/1/artifacts', 'Read and written', 'Lineage'], penguins: ['/runs/29/artifacts'] }],
  ['run-metrics', { runs: ['/runs/1/metrics', 'loss'], penguins: ['/runs/29/metrics?before=3'] }],
  ['metrics', {
    empty: ['/runs/metrics', 'No run has recorded a metric.'],
    full: ['/runs/metrics', 'loss'],
    penguins: ['/runs/metrics'],
  }],
  ['settings', { empty: ['/settings', 'sqlite'], full: ['/settings', 'max_concurrent_runs = 16'], penguins: ['/settings'] }],
  ['compare', {
    full: ['/runs/compare?run=1&run=2', 'Metrics', 'Timings'],
    penguins: ['/runs/compare?run=28&run=29'],
  }],
  ['compare-many', {
    full: ['/runs/compare?run=1&run=2&run=3&run=4', 'Runs 1, 2, 3 and 4', 'Timings'],
    penguins: ['/runs/compare?run=26&run=27&run=28&run=29'],
  }],
  ['approvals', {
    empty: ['/approvals', 'Nothing waits for approval.'],
    full: ['/approvals', 'awaiting approval'],
    penguins: ['/approvals'],
  }],
  ['models', { empty: ['/models', 'No models yet.'], full: ['/models', 'production'], penguins: ['/models'] }],
  ['model', {
    full: ['/models/gate', 'Roll back', 'promoted', 'Not for other birds'],
    penguins: ['/models/penguins', 'holdout_accuracy'],
  }],
  ['not-found', { full: ['/no-such-page', 'Not found'], penguins: ['/no-such-page'] }, 404],
  ['resource', { empty: ['/resources/raw', 'watching'], full: ['/resources/raw', 'fired', 'Select a mark'], penguins: ['/resources/raw'] }],
  ['trigger', { empty: ['/triggers/yearly', 'cron @yearly', 'What the trigger decided'], penguins: ['/triggers/yearly'] }],
  ['artifact', { full: ['artifact:raw', 'Lineage', 'Used by'], penguins: ['artifact:models'] }],
  ['api', { empty: ['/api', 'Starts a run.', 'OpenAPI 3.1'], penguins: ['/api'] }],
  ['action', { empty: ['/actions/train', 'not run yet'], full: ['/actions/train', 'bill_length_mm', 'as WIT'], penguins: ['/actions/train'] }],
  ['login', { token: ['/runs?state=failed', 'gate asks for its token.'], guarded: ['/', 'penguins asks for its token.'] }, 401],
];
