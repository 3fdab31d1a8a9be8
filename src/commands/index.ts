import type { Command } from './command.ts'

/** The commands by name, in the order of --help. */
export const commands: Readonly<Record<string, () => Promise<{ command: Command }>>> = {
  run: () => import('./run.ts'),
  check: () => import('./check.ts'),
  explain: () => import('./explain.ts'),
  diff: () => import('./diff.ts'),
  test: () => import('./test.ts'),
  schema: () => import('./schema.ts'),
  openapi: () => import('./openapi.ts'),
  fmt: () => import('./fmt.ts'),
  init: () => import('./init.ts'),
  hash: () => import('./hash.ts'),
  user: () => import('./user.ts'),
  key: () => import('./key.ts'),
  import: () => import('./import.ts'),
  proxy: () => import('./proxy.ts'),
  echo: () => import('./echo.ts'),
  completion: () => import('./completion.ts')
}
