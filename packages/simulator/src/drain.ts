/**
 * Lets every promise continuation that can run now run to its end. All ports of a simulation settle in microtasks, and the
 * event loop turns only when none is left, so what is done by then depends on nothing but the seed.
 */
export function drain(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
