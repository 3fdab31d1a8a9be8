import htm from './htm.js'
import { Component, h, render } from './preact.js'

/** Makes elements of a template: html`<p>…</p>`. */
export const html = htm.bind(h)

export { Component, render }
