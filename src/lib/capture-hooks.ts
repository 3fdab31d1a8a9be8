import type { FastifyInstance } from 'fastify'

/** The hooks of a vendor's plugin, by phase, to be placed where a concern wants them. */
export type Captured = Readonly<Record<string, readonly ((...args: never[]) => unknown)[]>>

/** Registers a vendor's plugin on an object that inherits the instance, and keeps its hooks instead of letting them run on every request; it adds no routes. */
export async function captureHooks<O>(app: FastifyInstance, plugin: unknown, options: O): Promise<Captured> {
  const hooks: Record<string, ((...args: never[]) => unknown)[]> = {}
  const stand = Object.create(app) as Record<string, unknown>
  stand['addHook'] = (phase: string, hook: (...args: never[]) => unknown) => {
    hooks[phase] = [...(hooks[phase] ?? []), hook]
    return stand
  }
  stand['options'] = () => stand
  stand['decorate'] = (name: string, value: unknown) =>
    app.hasDecorator(name) ? app : app.decorate(name, value)
  stand['decorateRequest'] = (name: string, value: never) =>
    app.hasRequestDecorator(name) ? app : app.decorateRequest(name, value)
  await new Promise<void>((resolve, reject) => {
    const done = (error?: Error): void => (error === undefined || error === null ? resolve() : reject(error))
    const returned: unknown = (
      plugin as (app: unknown, options: O, done: (error?: Error) => void) => unknown
    )(stand, options, done)
    if (returned instanceof Promise) returned.then(() => resolve(), reject)
  })
  return hooks
}
