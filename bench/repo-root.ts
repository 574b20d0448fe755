import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The directory of this checkout. */
export const REPO_ROOT: string = dirname(dirname(fileURLToPath(import.meta.url)));
