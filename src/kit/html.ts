export { escapeHtml } from '../lib/escape.ts'
